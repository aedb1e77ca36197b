//! Whose devices a client is told of.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use ruma::OwnedRoomId;
use serde_json::Value;

use crate::ward::{Person, Ward, run};

/// Other people than the one who listens.
const PEOPLE: usize = 4;
const ROOMS: usize = 3;

/// What happens in a ward. Person 0 listens.
#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize, usize),
    /// Somebody's devices change.
    Change(usize),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..=PEOPLE, 0..ROOMS).prop_map(|(who, room)| Step::Join(who, room)),
        3 => (0..=PEOPLE, 0..ROOMS).prop_map(|(who, room)| Step::Leave(who, room)),
        3 => (0..=PEOPLE).prop_map(Step::Change),
        3 => Just(Step::Sync),
    ];
    vec(step, 1..50)
}

/// A client that follows the devices of those it is told of, as the specification wants it.
#[derive(Default)]
struct Tracker {
    since: Option<Value>,
    /// The state of the devices when the client asked for them last.
    known: BTreeMap<usize, u32>,
}

fn listed(answer: &Value, list: &str, people: &[Person]) -> Vec<usize> {
    let ids = answer["device_lists"][list].as_array().cloned().unwrap_or_default();
    ids.iter().map(|id| people.iter().position(|person| person.id().as_str() == id).unwrap()).collect()
}

impl Tracker {
    async fn sync(&mut self, ward: &Ward, people: &[Person], versions: &[u32], sharing: &[usize]) {
        let answer = ward.sync(&people[0], self.since.as_ref()).await;
        if self.since.is_none() {
            assert_eq!(answer.get("device_lists"), None);
            self.known = sharing.iter().map(|who| (*who, versions[*who])).collect();
        }
        let (changed, left) = (listed(&answer, "changed", people), listed(&answer, "left", people));
        assert!(changed.iter().all(|who| !left.contains(who)), "{answer}");
        for who in left {
            self.known.remove(&who);
        }
        for who in changed {
            assert!(sharing.contains(&who), "{who} is nobody's business: {answer}");
            self.known.insert(who, versions[who]);
        }
        self.since = Some(answer);
        let expected: BTreeMap<usize, u32> = sharing.iter().map(|who| (*who, versions[*who])).collect();
        assert_eq!(self.known, expected, "everybody who shares a room is known as they are, and nobody else");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_does_as_told_knows_the_devices_of_everybody_who_shares_a_room(steps in steps()) {
        run(async {
            let ward = Ward::new().await;
            let mut people = Vec::new();
            for number in 0..=PEOPLE {
                people.push(ward.person(&format!("p{number}")).await);
            }
            let owner = ward.person("owner").await;
            let mut rooms: Vec<(OwnedRoomId, [bool; PEOPLE + 1])> = Vec::new();
            for _ in 0..ROOMS {
                rooms.push((ward.room(&owner, &[]).await, [false; PEOPLE + 1]));
            }
            // The owner is in every room, and nobody who is followed here.
            people.push(owner);
            let owner = PEOPLE + 1;
            let mut versions = vec![0; PEOPLE + 2];
            let mut tracker = Tracker::default();
            for step in steps.into_iter().chain([Step::Sync]) {
                match step {
                    Step::Join(who, room) => {
                        ward.join(&people[who], &rooms[room].0).await;
                        rooms[room].1[who] = true;
                    }
                    Step::Leave(who, room) if rooms[room].1[who] => {
                        ward.leave(&people[who], &rooms[room].0).await;
                        rooms[room].1[who] = false;
                    }
                    Step::Leave(..) => {}
                    Step::Change(who) => {
                        versions[who] += 1;
                        let session = &people[who].0;
                        let name = versions[who].to_string();
                        ward.accounts.rename_device(session.nid, &session.device, Some(&name)).await.unwrap();
                    }
                    Step::Sync => {
                        let shared: Vec<_> = rooms.iter().filter(|(_, members)| members[0]).collect();
                        let mut sharing: Vec<usize> = (1..=PEOPLE)
                            .filter(|who| shared.iter().any(|(_, members)| members[*who]))
                            .collect();
                        // One's own devices are always one's business.
                        sharing.insert(0, 0);
                        if !shared.is_empty() {
                            sharing.push(owner);
                        }
                        tracker.sync(&ward, &people, &versions, &sharing).await;
                    }
                }
            }
        });
    }
}

#[test]
fn many_changes_at_once_are_told_to_those_whom_they_concern() {
    const MANY: usize = 90;
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let (large, small) = (ward.room(&alice, &[&bob]).await, ward.room(&bob, &[&alice]).await);
        let elsewhere = ward.room(&bob, &[]).await;
        let mut people = Vec::new();
        for number in 0..MANY {
            let person = ward.person(&format!("p{number}")).await;
            ward.join(&person, &large).await;
            if number < 10 {
                ward.join(&person, &small).await;
            }
            people.push(person);
        }
        for number in 0..MANY {
            let stranger = ward.person(&format!("s{number}")).await;
            ward.join(&stranger, &elsewhere).await;
            people.push(stranger);
        }
        let since = ward.sync(&alice, None).await;
        for Person(session) in &people {
            ward.accounts.rename_device(session.nid, &session.device, Some("x")).await.unwrap();
        }
        let since = ward.sync(&alice, Some(&since)).await;
        let mut changed = listed(&since, "changed", &people);
        changed.sort_unstable();
        assert_eq!(changed, (0..MANY).collect::<Vec<_>>());
        ward.leave(&alice, &large).await;
        let left = ward.sync(&alice, Some(&since)).await;
        let mut left = listed(&left, "left", &people);
        left.sort_unstable();
        assert_eq!(left, (10..MANY).collect::<Vec<_>>(), "ten share another room");
    });
}
