//! Lazy loading of members.

use serde_json::{Value, json};

use crate::ward::{Ward, asking, bodies, joined, members, new_room, no_state, run, types};

fn lazy() -> Value {
    json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 2 } } })
}

#[test]
fn only_senders_are_told_and_each_once() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let (carol, dave) = (ward.person("carol").await, ward.person("dave").await);
        let room = ward.room(&alice, &[&bob, &carol, &dave]).await;
        ward.say(&alice, &room, "1").await;
        ward.say(&alice, &room, "2").await;
        let first = ward.sync_with(&bob, None, lazy()).await;
        let told = joined(&first, &room);
        assert_eq!(members(told, "state"), [alice.id().as_str(), bob.id().as_str()], "the sender and oneself");
        assert!(types(told, "state").contains(&"m.room.create".to_owned()));

        ward.say(&alice, &room, "3").await;
        ward.say(&carol, &room, "4").await;
        let second = ward.sync_with(&bob, Some(&first), lazy()).await;
        assert_eq!(members(joined(&second, &room), "state"), [carol.id().as_str()], "alice is known");
        let retry = ward.sync_with(&bob, Some(&first), lazy()).await;
        assert_eq!(members(joined(&retry, &room), "state"), [carol.id().as_str()], "the answer may have been lost");

        ward.say(&carol, &room, "5").await;
        let third = ward.sync_with(&bob, Some(&second), lazy()).await;
        assert_eq!(bodies(joined(&third, &room)), ["5"]);
        assert!(no_state(joined(&third, &room)));
        let redundant =
            json!({ "room": { "state": { "lazy_load_members": true, "include_redundant_members": true } } });
        let fourth = ward.sync_with(&bob, Some(&second), redundant).await;
        assert_eq!(members(joined(&fourth, &room), "state"), [carol.id().as_str()]);

        let again = ward.sync_with(&bob, None, lazy()).await;
        assert_eq!(members(joined(&again, &room), "state").len(), 2, "who starts anew knows nobody");
    });
}

#[test]
fn a_lost_answer_does_not_leave_members_unknown() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob, carol) = (ward.person("alice").await, ward.person("bob").await, ward.person("carol").await);
        let room = ward.room(&alice, &[&bob, &carol]).await;
        ward.say(&bob, &room, "1").await;
        ward.say(&bob, &room, "2").await;
        let first = ward.sync_with(&bob, None, lazy()).await;
        assert_eq!(members(joined(&first, &room), "state"), [bob.id().as_str()]);
        ward.say(&alice, &room, "lost").await;
        let lost = ward.sync_with(&bob, Some(&first), lazy()).await;
        assert_eq!(members(joined(&lost, &room), "state"), [alice.id().as_str()]);
        ward.say(&bob, &room, "1").await;
        ward.say(&bob, &room, "2").await;
        let second = ward.sync_with(&bob, Some(&first), lazy()).await;
        assert_eq!(bodies(joined(&second, &room)), ["1", "2"], "alice's words are in the gap");
        assert_eq!(members(joined(&second, &room), "state"), [""; 0]);
        ward.say(&alice, &room, "3").await;
        let third = ward.sync_with(&bob, Some(&second), lazy()).await;
        assert_eq!(members(joined(&third, &room), "state"), [alice.id().as_str()], "bob never got the lost answer");
    });
}

#[test]
fn memberships_that_change_in_a_gap_are_told() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob, carol) = (ward.person("alice").await, ward.person("bob").await, ward.person("carol").await);
        let room = ward.room(&alice, &[&bob]).await;
        let first = ward.sync_with(&bob, None, lazy()).await;
        ward.join(&carol, &room).await;
        ward.say(&alice, &room, "1").await;
        ward.say(&alice, &room, "2").await;
        let second = ward.sync_with(&bob, Some(&first), lazy()).await;
        let told = joined(&second, &room);
        assert_eq!(told["timeline"]["limited"], true);
        assert_eq!(members(told, "state"), [carol.id().as_str()], "alice is known from the first answer");
        assert_eq!(told["summary"]["m.joined_member_count"], 3);
    });
}

#[test]
fn heroes_come_with_their_memberships() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.rooms.create(alice.actor(), new_room(None)).await.unwrap();
        ward.join(&bob, &room).await;
        ward.say(&bob, &room, "1").await;
        ward.say(&bob, &room, "2").await;
        let answer = ward.sync_with(&bob, None, lazy()).await;
        assert_eq!(members(joined(&answer, &room), "state"), [alice.id().as_str(), bob.id().as_str()]);
        let mut full = asking(Some(&answer), Some(lazy()));
        full.full_state = true;
        let answer = ward.ask(&bob, full).await.unwrap();
        assert_eq!(members(joined(&answer, &room), "state").len(), 2, "asked for again, told again");
    });
}
