//! Edits, reactions, replies and pins whose other end is over.

use std::slice::from_ref;

use wardroom_testkit::{Actor, Value, bodies, event_ids, events, json, text, unique, v1, v3};

use super::{
    super::{HOUR, now_ms},
    Ward, config, unhurried,
};

fn edit_of(event: &str, body: &str) -> Value {
    let mut content = text(&format!("* {body}"));
    content["m.new_content"] = text(body);
    content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": event });
    content
}

fn reaction_to(event: &str) -> Value {
    json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "👍" } })
}

impl Ward {
    /// What is told of the relations of an event.
    #[track_caller]
    fn related(&self, event: &str) -> Vec<String> {
        let answer = self.alice.get(v1(&["rooms", &self.room, "relations", event]));
        if answer.status == 404 { Vec::new() } else { event_ids(events(&answer.ok()["chunk"])) }
    }

    /// What is told with an event of those that relate to it.
    #[track_caller]
    fn bundled(&self, event: &str) -> Value {
        self.alice.try_event(&self.room, event).ok()["unsigned"]["m.relations"].clone()
    }
}

#[test]
fn a_live_edit_outlives_its_original_and_does_not_bring_it_back() {
    let ward = Ward::new(config());
    let original = ward.sent_before(HOUR, &text("5 mg, for the patient in bed 3"));
    let over = ward.sent_at(now_ms() - HOUR, "m.room.message", &edit_of(&original, "50 mg"));
    let live = ward.sent_at(now_ms(), "m.room.message", &edit_of(&original, "5.0 mg"));
    ward.end_early();
    for purged in [false, true] {
        if purged {
            ward.purged(2);
        }
        assert_eq!(bodies(&ward.messages()), ["* 5.0 mg"], "purged: {purged}");
        for event in [&original, &over] {
            ward.alice.get(v3(&["rooms", &ward.room, "event", event])).refused(404, "M_NOT_FOUND");
        }
        assert_eq!(ward.alice.try_event(&ward.room, &live).ok()["content"]["m.new_content"], text("5.0 mg"));
        assert!(!ward.alice.initial_sync().to_string().contains("bed 3"));
    }
}

#[test]
fn an_edit_that_is_over_edits_no_more() {
    let ward = Ward::new(config());
    let original = ward.sent_at(now_ms(), "m.room.message", &text("5 mg"));
    ward.sent_at(now_ms() - HOUR, "m.room.message", &edit_of(&original, "50 mg"));
    assert!(ward.bundled(&original)["m.replace"].is_object());
    ward.end_early();
    for purged in [false, true] {
        if purged {
            ward.purged(1);
        }
        assert!(ward.bundled(&original)["m.replace"].is_null(), "purged: {purged}");
        assert_eq!(ward.alice.try_event(&ward.room, &original).ok()["content"], text("5 mg"));
        assert!(ward.related(&original).is_empty());
        assert!(!ward.alice.initial_sync().to_string().contains("50 mg"));
    }
}

#[test]
fn of_several_edits_the_newest_that_lives_counts() {
    let ward = Ward::new(config());
    let original = ward.sent_at(now_ms() - 20 * super::MINUTE, "m.room.message", &text("5 mg"));
    let live = ward.sent_at(now_ms() - 10 * super::MINUTE, "m.room.message", &edit_of(&original, "6 mg"));
    ward.sent_at(now_ms() - HOUR, "m.room.message", &edit_of(&original, "7 mg"));
    ward.end_early();
    for purged in [false, true] {
        if purged {
            ward.purged(1);
        }
        assert_eq!(ward.bundled(&original)["m.replace"]["event_id"], *live, "purged: {purged}");
        assert_eq!(ward.related(&original), from_ref(&live));
    }
}

#[test]
fn reactions_that_are_over_are_not_counted_and_those_that_live_tell_nothing() {
    let ward = Ward::new(config());
    let (live, over) = (ward.alice.say(&ward.room, "alive"), ward.sent_before(HOUR, &text("over")));
    ward.sent_at(now_ms() - HOUR, "m.reaction", &reaction_to(&live));
    let on_over = ward.alice.try_send(&ward.room, "m.reaction", &unique("txn"), reaction_to(&over)).ok();
    assert_eq!(ward.related(&live).len(), 1);
    ward.end_early();
    for purged in [false, true] {
        if purged {
            ward.purged(2);
        }
        assert!(ward.related(&live).is_empty(), "purged: {purged}");
        assert!(ward.bundled(&live)["m.annotation"].is_null());
        let reaction = ward.alice.try_event(&ward.room, on_over["event_id"].as_str().unwrap()).ok();
        assert_eq!(reaction["content"], reaction_to(&over), "it names the event and nothing of it");
        ward.alice.get(v3(&["rooms", &ward.room, "event", &over])).refused(404, "M_NOT_FOUND");
    }
}

/// The server cannot tell a quotation from other text, and reads no encrypted one: the end of a message is not that of
/// what others wrote of it.
#[test]
fn what_live_replies_quote_stays() {
    let ward = Ward::new(config());
    let old = ward.sent_before(HOUR, &text("the old words"));
    let mut reply = text(&format!("> <{}> the old words\n\nyes", ward.bob));
    reply["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": old } });
    let reply = ward.alice.try_send(&ward.room, "m.room.message", &unique("txn"), reply).ok();
    ward.end_early();
    ward.purged(1);
    ward.alice.get(v3(&["rooms", &ward.room, "event", &old])).refused(404, "M_NOT_FOUND");
    let told = ward.alice.try_event(&ward.room, reply["event_id"].as_str().unwrap()).ok();
    assert!(told["content"]["body"].as_str().unwrap().contains("the old words"));
    assert_eq!(told["content"]["m.relates_to"]["m.in_reply_to"]["event_id"], *old);
}

#[test]
fn a_pin_on_what_is_over_leads_nowhere() {
    let ward = Ward::new(config());
    let old = ward.sent_before(HOUR, &text("pinned"));
    ward.alice.set_state(&ward.room, "m.room.pinned_events", "", json!({ "pinned": [old] }));
    ward.end_early();
    for purged in [false, true] {
        if purged {
            ward.purged(1);
        }
        assert_eq!(ward.alice.state(&ward.room, "m.room.pinned_events", "")["pinned"], json!([old]), "state stays");
        ward.alice.get(v3(&["rooms", &ward.room, "event", &old])).refused(404, "M_NOT_FOUND");
        ward.alice.get(v3(&["rooms", &ward.room, "context", &old])).refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn a_redaction_of_what_is_over_changes_nothing_and_breaks_nothing() {
    let ward = Ward::new(unhurried());
    let old = ward.sent_before(HOUR, &text("over"));
    ward.end_early();
    let answer = ward.alice.try_redact(&ward.room, &old, &unique("txn"));
    assert!([200, 404].contains(&answer.status), "{}", answer.story());
    ward.alice.get(v3(&["rooms", &ward.room, "event", &old])).refused(404, "M_NOT_FOUND");
    // Redacted long ago, and the redaction is over as well.
    let target = ward.alice.say(&ward.room, "redacted");
    ward.sent_at(now_ms() - HOUR, "m.room.message", &text("between"));
    ward.alice.redact(&ward.room, &target);
    assert_eq!(ward.alice.try_event(&ward.room, &target).ok()["content"], json!({}));
}
