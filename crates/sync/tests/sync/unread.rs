//! Unread counts.

use ruma::{
    EventId, RoomId,
    events::receipt::{ReceiptThread, ReceiptType},
    push::{
        Action, HighlightTweakValue, NewConditionalPushRule, NewPatternedPushRule, NewPushRule, PushCondition,
        RuleKind, Tweak,
    },
};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_push::UNREAD_SCAN_EVENTS_MAX;
use wardroom_rooms::MemberProfile;

use crate::ward::{Person, Ward, joined, new_room, run};

async fn read(ward: &Ward, who: &Person, room: &RoomId, event: &EventId, thread: ReceiptThread) {
    ward.rooms.set_receipt(who.actor(), room, &ReceiptType::Read, event, &thread).await.unwrap();
}

/// Notifications and highlights of a room.
async fn counts(ward: &Ward, who: &Person, room: &RoomId) -> (u64, u64) {
    let answer = ward.sync(who, None).await;
    pair(&joined(&answer, room)["unread_notifications"])
}

fn pair(counts: &Value) -> (u64, u64) {
    (counts["notification_count"].as_u64().unwrap(), counts["highlight_count"].as_u64().unwrap())
}

#[test]
fn messages_of_others_count_until_they_are_read() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        ward.say(&alice, &room, "before bob").await;
        ward.join(&bob, &room).await;
        assert_eq!(counts(&ward, &bob, &room).await, (0, 0), "what came before one joined is not counted");
        let token = ward.token(&bob).await;
        let first = ward.say(&alice, &room, "1").await;
        ward.say(&alice, &room, "2").await;
        let answer = ward.sync(&bob, Some(&token)).await;
        assert_eq!(pair(&joined(&answer, &room)["unread_notifications"]), (2, 0), "in the answer with the messages");
        assert_eq!(counts(&ward, &alice, &room).await, (0, 0), "one's own words");

        read(&ward, &bob, &room, &first, ReceiptThread::Unthreaded).await;
        let filter = json!({ "room": { "ephemeral": { "types": [] } } });
        let told = ward.sync_with(&bob, Some(&answer), filter).await;
        assert_eq!(pair(&joined(&told, &room)["unread_notifications"]), (1, 0), "told though the receipt is not");
        let third = ward.say(&alice, &room, "3").await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 0));
        read(&ward, &bob, &room, &third, ReceiptThread::Main).await;
        assert_eq!(counts(&ward, &bob, &room).await, (0, 0));

        ward.say(&alice, &room, "4").await;
        ward.say(&bob, &room, "an answer").await;
        assert_eq!(counts(&ward, &bob, &room).await, (0, 0), "who answers has read");
    });
}

#[test]
fn rules_decide_what_counts_and_what_stands_out() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob, carol) = (ward.person("alice").await, ward.person("bob").await, ward.person("carol").await);
        let room = ward.room(&alice, &[&bob, &carol]).await;
        ward.say(&alice, &room, "hello").await;
        assert_eq!(counts(&ward, &bob, &room).await, (1, 0));
        ward.send(&alice, &room, json!({ "msgtype": "m.notice", "body": "beep" })).await;
        assert_eq!(counts(&ward, &bob, &room).await, (1, 0), "notices are silent");
        let mention = json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": [bob.id()] } });
        ward.send(&alice, &room, mention).await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 1));
        ward.send(&alice, &room, json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "room": true } })).await;
        assert_eq!(counts(&ward, &bob, &room).await, (3, 2), "alice may notify the room");

        let profile = MemberProfile { displayname: Some("Dr. House".to_owned()), avatar_url: None };
        ward.rooms.update_profile(bob.actor(), &profile).await.unwrap();
        #[expect(deprecated, reason = "still a condition")]
        let named = vec![PushCondition::ContainsDisplayName];
        let loud = vec![Action::Notify, Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes))];
        let rule = NewConditionalPushRule::new("named".to_owned(), named, loud);
        ward.accounts.set_push_rule(bob.id(), NewPushRule::Override(rule), None, None).await.unwrap();
        ward.say(&alice, &room, "where is dr. house?").await;
        ward.say(&alice, &room, "where is the house?").await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 1), "the display name; and who changes it was there");

        let rule = NewPatternedPushRule::new("cake".to_owned(), "c?ke".to_owned(), vec![Action::Notify]);
        ward.accounts.set_push_rule(bob.id(), NewPushRule::Content(rule), None, None).await.unwrap();
        ward.accounts.set_push_rule_enabled(bob.id(), RuleKind::Underride, ".m.rule.message", false).await.unwrap();
        ward.say(&alice, &room, "nothing").await;
        ward.say(&alice, &room, "CAKE").await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 1), "new rules count anew: the name and the cake");
    });
}

#[test]
fn notifying_everybody_takes_power() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let all = json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "room": true } });
        ward.send(&bob, &room, all).await;
        assert_eq!(counts(&ward, &alice, &room).await, (1, 0));
    });
}

#[test]
fn a_redacted_message_does_not_count() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let event = ward.say(&alice, &room, "oops").await;
        ward.say(&alice, &room, "fine").await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 0));
        ward.rooms.redact(alice.actor(), &room, &event, None, None).await.unwrap();
        assert_eq!(counts(&ward, &bob, &room).await, (1, 0));
        let fresh = ward.device_of(bob.id()).await;
        assert_eq!(counts(&ward, &fresh, &room).await, (1, 0));
    });
}

#[test]
fn threads_count_apart_when_asked() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let root = ward.say(&alice, &room, "root").await;
        let relates = json!({ "rel_type": "m.thread", "event_id": root });
        let reply =
            ward.send(&alice, &room, json!({ "msgtype": "m.text", "body": "r", "m.relates_to": relates })).await;
        let relates = json!({ "rel_type": "m.reference", "event_id": reply });
        ward.send(&alice, &room, json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relates, "m.mentions": { "user_ids": [bob.id()] } })).await;
        let main = ward.say(&alice, &room, "main").await;

        let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
        let apart = ward.sync_with(&bob, None, filter.clone()).await;
        assert_eq!(pair(&joined(&apart, &room)["unread_notifications"]), (2, 0));
        let threads = &joined(&apart, &room)["unread_thread_notifications"];
        assert_eq!(threads.as_object().unwrap().len(), 1);
        assert_eq!(pair(&threads[root.as_str()]), (2, 1), "by a hop to the thread, too");
        assert_eq!(counts(&ward, &bob, &room).await, (4, 1), "together for others");

        read(&ward, &bob, &room, &main, ReceiptThread::Main).await;
        assert_eq!(counts(&ward, &bob, &room).await, (2, 1), "the thread is not read by that");
        read(&ward, &bob, &room, &reply, ReceiptThread::Thread(root.clone())).await;
        let apart = ward.sync_with(&bob, None, filter).await;
        assert_eq!(pair(&joined(&apart, &room)["unread_notifications"]), (0, 0));
        assert_eq!(pair(&joined(&apart, &room)["unread_thread_notifications"][root.as_str()]), (1, 1));
        read(&ward, &bob, &room, &main, ReceiptThread::Unthreaded).await;
        assert_eq!(counts(&ward, &bob, &room).await, (0, 0));
    });
}

#[test]
fn in_a_room_of_two_every_message_is_loud_but_counts_once() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.rooms.create(alice.actor(), new_room(None)).await.unwrap();
        ward.rooms.invite(alice.actor(), &room, bob.id(), MemberProfile::default(), None).await.unwrap();
        let invited = ward.sync(&bob, None).await;
        assert!(invited["rooms"]["invite"][room.as_str()]["unread_notifications"].is_null());
        ward.join(&bob, &room).await;
        ward.say(&alice, &room, "hi").await;
        assert_eq!(counts(&ward, &bob, &room).await, (1, 0));
    });
}

#[test]
fn counting_is_bounded() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": "x" })).unwrap();
        for _ in 0..UNREAD_SCAN_EVENTS_MAX + 20 {
            ward.rooms.send(alice.actor(), &room, "m.room.message", content.clone(), None).await.unwrap();
        }
        assert_eq!(counts(&ward, &bob, &room).await, (UNREAD_SCAN_EVENTS_MAX as u64, 0));
        ward.say(&alice, &room, "one more").await;
        assert_eq!(counts(&ward, &bob, &room).await, (UNREAD_SCAN_EVENTS_MAX as u64 + 1, 0));
    });
}
