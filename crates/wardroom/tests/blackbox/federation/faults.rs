//! Two and three Wardrooms behind networks that delay, cut, repeat, and part.

use std::{thread, time::Duration};

use wardroom_testkit::{User, event_ids, json};

use super::sites::{Site, VERSIONS, agree, join_via, public_room, sees};

/// Three sites behind proxies, and a room of a version with a user of each in it.
struct Ring {
    sites: [Site; 3],
}

impl Ring {
    fn start() -> Self {
        Self { sites: [Site::behind_proxy(), Site::behind_proxy(), Site::behind_proxy()] }
    }

    fn all(&self) -> [&Site; 3] {
        [&self.sites[0], &self.sites[1], &self.sites[2]]
    }

    #[track_caller]
    fn room(&self, version: &str) -> (String, [User; 3]) {
        let users = [self.sites[0].user("alice"), self.sites[1].user("bob"), self.sites[2].user("carol")];
        let room = public_room(&users[0], version);
        join_via(&users[1], &room, &self.sites[0]);
        join_via(&users[2], &room, &self.sites[0]);
        agree(&room, &self.all());
        (room, users)
    }

    fn heal(&self) {
        for site in &self.sites {
            site.proxy().heal();
        }
    }

    /// Nobody reaches the last site, and it reaches nobody.
    fn part(&self) {
        let away = self.sites[2].name().to_owned();
        self.sites[2].proxy().faults(|faults| faults.cut_off = true);
        for site in &self.sites[..2] {
            site.proxy().faults(|faults| faults.refused.extend([away.clone()]));
        }
    }
}

/// Everybody's messages are in everybody's history, once.
#[track_caller]
fn nothing_is_lost(room: &str, users: &[User; 3], said: &[String]) {
    for user in users {
        let history = event_ids(&user.history(room));
        for event in said {
            let times = history.iter().filter(|id| *id == event).count();
            assert_eq!(times, 1, "{} sees {event} {times} times", user.id);
        }
    }
}

#[test]
fn messages_survive_a_bad_network() {
    const MESSAGES: usize = 30;
    let ring = Ring::start();
    for version in VERSIONS {
        let (room, users) = ring.room(version);
        for site in &ring.sites {
            site.proxy().faults(|faults| {
                faults.delay = Duration::from_millis(60);
                faults.lose_request_one_in = 8;
                faults.cut_answer_one_in = 6;
                faults.duplicate_one_in = 3;
                faults.replay_one_in = 3;
            });
        }
        let said: Vec<String> = thread::scope(|scope| {
            let speak = |user: &User| -> Vec<String> {
                (0..MESSAGES).map(|number| user.say(&room, &number.to_string())).collect()
            };
            let speakers: Vec<_> = users.iter().map(|user| scope.spawn(move || speak(user))).collect();
            speakers.into_iter().flat_map(|speaker| speaker.join().unwrap()).collect()
        });
        ring.heal();
        for user in &users {
            for event in &said {
                sees(user, &room, event);
            }
        }
        agree(&room, &ring.all());
        nothing_is_lost(&room, &users, &said);
    }
}

#[test]
fn state_changed_on_both_sides_of_a_partition_is_resolved_alike() {
    let ring = Ring::start();
    for version in VERSIONS {
        let (room, users) = ring.room(version);
        let [alice, bob, carol] = &users;
        alice.change_power_levels(&room, |levels| {
            levels["users"][&bob.id] = json!(60);
            levels["users"][&carol.id] = json!(50);
        });
        agree(&room, &ring.all());
        ring.part();

        // On one side the levels change and somebody is demoted; on the other side, unaware, that one acts.
        alice.set_state(&room, "m.room.topic", "", json!({ "topic": "from here" }));
        alice.change_power_levels(&room, |levels| levels["users"][&carol.id] = json!(0));
        bob.set_state(&room, "m.room.name", "", json!({ "name": "from here" }));
        let unseen = alice.say(&room, "behind the wall");
        carol.set_state(&room, "m.room.topic", "", json!({ "topic": "from there" }));
        carol.set_state(&room, "m.room.name", "", json!({ "name": "from there" }));
        carol.set_state(&room, "ward.shift", "night", json!({ "on": true }));
        let there = carol.say(&room, "is anybody there?");

        ring.heal();
        sees(carol, &room, &unseen);
        let after = alice.say(&room, "together again");
        for user in &users {
            sees(user, &room, &after);
        }
        let answer = carol.say(&room, "yes");
        sees(alice, &room, &answer);
        sees(bob, &room, &there);
        agree(&room, &ring.all());
        for user in &users {
            assert_eq!(user.state(&room, "m.room.name", "")["name"], "from here", "{version}: {}", user.id);
            assert_eq!(user.state(&room, "m.room.power_levels", "")["users"][&carol.id], 0, "{version}: {}", user.id);
        }
    }
}

#[test]
fn a_ban_behind_a_partition_holds_afterwards() {
    let ring = Ring::start();
    for version in VERSIONS {
        let (room, users) = ring.room(version);
        let [alice, bob, carol] = &users;
        ring.part();
        alice.on_member("ban", &room, carol).ok();
        // Before the message gets anywhere: a server that heard of the ban later would rightly take it.
        agree(&room, &[&ring.sites[0], &ring.sites[1]]);
        let unheard = carol.say(&room, "I was banned and do not know it");
        ring.heal();
        let seen = bob.say(&room, "after");
        sees(alice, &room, &seen);
        // The message was allowed where it was sent and is not by the state that the room has: nobody sees it here.
        let graph = agree(&room, &[&ring.sites[0], &ring.sites[1]]);
        assert_eq!(graph["joined_members"], 2);
        assert_eq!(alice.try_event(&room, &unheard).status, 404);
        assert_eq!(bob.try_event(&room, &unheard).status, 404);
    }
}
