//! What rooms say, in every way in which they can say it wrongly or twice.

use wardroom_testkit::{Actor, Value, bodies, json, text, v3};

use super::{super::HOUR, MINUTE, Ward, config, unhurried};
use crate::admin::{admin_of, own};

const RETENTION: &str = "m.room.retention";

impl Ward {
    /// Bob says how long messages are kept. Tells whether it became what the room says.
    #[track_caller]
    fn bob_says(&self, content: &Value) -> bool {
        let event = self.peer.make(&self.room, &self.bob, RETENTION, Some(""), content);
        self.peer.send(&self.site.server, &[event], &[]).ok();
        self.alice.state(&self.room, RETENTION, "") == *content
    }

    fn is_hidden(&self) -> bool {
        self.messages().is_empty()
    }
}

#[test]
fn what_a_partner_says_that_makes_no_sense_says_nothing() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    ward.trust_bob();
    for content in [
        json!({ "max_lifetime": -1 }),
        json!({ "max_lifetime": "1800000" }),
        json!({ "max_lifetime": true }),
        json!({ "max_lifetime": [1] }),
        json!({ "max_lifetime": { "ms": 1 } }),
        json!({ "max_lifetime": MINUTE, "min_lifetime": HOUR }),
        json!({ "max_lifetime": MINUTE, "min_lifetime": -1 }),
        json!({ "max_lifetime": MINUTE, "min_lifetime": "0" }),
    ] {
        assert!(ward.bob_says(&json!({ "max_lifetime": 30 * MINUTE })));
        assert!(ward.is_hidden());
        assert!(ward.bob_says(&content), "{content}: the room has it");
        assert!(!ward.is_hidden(), "{content} replaces what was said before, and says nothing");
    }
}

#[test]
fn numbers_that_no_event_may_hold_change_nothing() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    ward.trust_bob();
    assert!(ward.bob_says(&json!({ "max_lifetime": 2 * HOUR })));
    for content in
        [json!({ "max_lifetime": 0.5 }), json!({ "max_lifetime": 1.0e15 }), json!({ "max_lifetime": u64::MAX })]
    {
        assert!(!ward.bob_says(&content), "{content} is none of canonical JSON");
        // What Bob said is no part of the room: he goes on from the last event that is.
        ward.peer.room(&ward.room, |room| {
            let refused = room.order.pop().unwrap();
            let event = room.events.remove(&refused).unwrap();
            room.extremities =
                event.0["prev_events"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
            room.state = event.1.unwrap();
        });
        assert!(!ward.is_hidden());
        ward.alice.try_set_state(&ward.room, RETENTION, "", content).refused_somehow();
    }
    ward.set_policy(json!({ "max_lifetime": 0 }));
    assert!(ward.is_hidden(), "zero is a number: at once");
    ward.set_policy(json!({ "max_lifetime": 9_007_199_254_740_991_u64 }));
    assert!(!ward.is_hidden(), "the largest is one: never");
}

#[test]
fn a_policy_that_is_shortened_and_lengthened_again_hides_and_shows() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    for (minutes, hidden) in [(90, false), (30, true), (90, false), (59, true), (62, false)] {
        ward.set_policy(json!({ "max_lifetime": minutes * MINUTE }));
        assert_eq!(ward.is_hidden(), hidden, "{minutes} minutes");
    }
}

#[test]
fn a_policy_that_is_redacted_or_replaced_counts_no_more() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    let strict = json!({ "max_lifetime": 30 * MINUTE });
    let set = ward.alice.set_state(&ward.room, RETENTION, "", strict.clone());
    assert!(ward.is_hidden());
    ward.alice.redact(&ward.room, &set);
    assert!(!ward.is_hidden(), "redacted");
    ward.set_policy(strict.clone());
    assert!(ward.is_hidden());
    ward.set_policy(json!({}));
    assert!(!ward.is_hidden(), "replaced by nothing");
    ward.alice.set_state(&ward.room, RETENTION, "of nobody", strict.clone());
    assert!(!ward.is_hidden(), "with another state key it is something else");
    ward.alice.try_send(&ward.room, RETENTION, "no-state", strict).ok();
    assert!(!ward.is_hidden(), "and a message of that type is none");
}

#[test]
fn who_may_not_set_state_sets_no_policy() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    let eve = ward.site.user("eve");
    eve.join(&ward.room);
    let strict = json!({ "max_lifetime": 0 });
    eve.try_set_state(&ward.room, RETENTION, "", strict.clone()).refused(403, "M_FORBIDDEN");
    let theirs = ward.peer.make(&ward.room, &ward.bob, RETENTION, Some(""), &strict);
    ward.peer.send(&ward.site.server, &[theirs], &[]).ok();
    ward.alice.try_state(&ward.room, RETENTION, "").refused(404, "M_NOT_FOUND");
    assert!(!ward.is_hidden());
}

#[test]
fn of_policies_that_are_set_at_once_the_one_of_the_resolved_state_counts() {
    let ward = Ward::new(unhurried());
    ward.sent_before(HOUR, &text("an hour ago"));
    ward.trust_bob();
    let (strict, lenient) = (json!({ "max_lifetime": 30 * MINUTE }), json!({ "max_lifetime": 2 * HOUR }));
    for (of_alice, of_bob) in [(&strict, &lenient), (&lenient, &strict)] {
        let before = ward.alice.set_state(&ward.room, RETENTION, "", json!({}));
        ward.peer.until_pdu("what both have seen", crate::SOON, |pdu| ward.peer.id_of(&ward.room, pdu) == before);
        // Made before the other is known: two ends of the same room.
        let theirs = ward.peer.make(&ward.room, &ward.bob, RETENTION, Some(""), of_bob);
        ward.set_policy(of_alice.clone());
        assert_eq!(ward.is_hidden(), *of_alice == strict);
        ward.peer.send(&ward.site.server, &[theirs], &[]).ok();
        let resolved = ward.alice.state(&ward.room, RETENTION, "");
        assert!(resolved == strict || resolved == lenient, "{resolved}");
        assert_eq!(ward.is_hidden(), resolved == strict, "{resolved}");
        let shown = admin_of(&ward.site.server).get(own(&["rooms", &ward.room, "retention"])).ok();
        assert_eq!(shown["max_lifetime"], resolved["max_lifetime"], "what is told is what counts");
    }
}

#[test]
fn a_room_that_is_made_with_a_policy_has_it_from_its_first_message_on() {
    let ward = Ward::new(config());
    let initial = json!([{ "type": RETENTION, "content": { "max_lifetime": 0 } }]);
    let room = ward.alice.create_room(json!({ "initial_state": initial }));
    let said = ward.alice.say(&room, "over as it is said");
    assert!(bodies(&ward.alice.history(&room)).is_empty());
    ward.alice.get(v3(&["rooms", &room, "event", &said])).refused(404, "M_NOT_FOUND");
}
