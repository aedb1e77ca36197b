//! Who may read what (client-server API, "Room History Visibility"): for each of the four values, as an invited
//! user, as a member, after leaving and after coming back, through every read that shows events.

use wardroom_testkit::{Actor, User, bodies, events, json, timeline, v3};

use crate::ward;

/// A room where one message was sent in each phase of Bob's membership.
struct Story {
    alice: User,
    bob: User,
    room: String,
    /// Event ids by what they say.
    said: Vec<(&'static str, String)>,
}

impl Story {
    fn new(visibility: &str) -> Self {
        let (alice, bob) = (ward().user("alice"), ward().user("bob"));
        let state = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
        let room = alice.create_room(json!({ "preset": "private_chat", "initial_state": [state] }));
        let mut story = Self { alice, bob, room, said: Vec::new() };
        story.say("before the invite");
        story.alice.invite(&story.room, &story.bob);
        story.say("while invited");
        story
    }

    fn say(&mut self, what: &'static str) {
        self.said.push((what, self.alice.say(&self.room, what)));
    }

    fn join_and_leave(&mut self) {
        self.bob.join(&self.room);
        self.say("while joined");
        self.bob.leave(&self.room);
        self.say("after leaving");
    }

    fn come_back(&mut self) {
        self.alice.invite(&self.room, &self.bob);
        self.bob.join(&self.room);
        self.say("after coming back");
    }

    /// Checks each way of reading against what Bob may see.
    #[track_caller]
    fn assert_bob_sees(&self, visible: &[&str]) {
        assert_eq!(bodies(&self.bob.history(&self.room)), visible, "/messages backwards");
        assert_eq!(bodies(&self.bob.walk(&self.room, "f", |_| false)), visible, "/messages forwards");
        for (what, id) in &self.said {
            let (event, context) = (
                self.bob.try_event(&self.room, id),
                self.bob.get(v3(&["rooms", &self.room, "context", id]).query("limit", "20")),
            );
            if visible.contains(what) {
                assert_eq!(event.ok()["content"]["body"], *what);
                let context = context.ok();
                let mut around = bodies(events(&context["events_before"]));
                around.reverse();
                around.push(context["event"]["content"]["body"].as_str().unwrap_or_default().to_owned());
                around.extend(bodies(events(&context["events_after"])));
                assert_eq!(around, visible, "/context of {what:?}");
            } else {
                event.refused(404, "M_NOT_FOUND");
                context.denied();
            }
        }
    }

    /// Checks that Bob, who is invited, reads nothing. Whether `invited` already lets him read single events from his
    /// invite on is left open by the specification: it wants a join, and its rules do not.
    #[track_caller]
    fn assert_bob_is_shut_out(&self, visibility: &str) {
        self.bob.try_messages(&self.room, "b", None, "50").refused(403, "M_FORBIDDEN");
        for (what, id) in &self.said {
            if visibility == "invited" && *what == "while invited" {
                continue;
            }
            self.bob.try_event(&self.room, id).refused(404, "M_NOT_FOUND");
            self.bob.get(v3(&["rooms", &self.room, "context", id])).denied();
        }
    }
}

#[test]
fn shared_history_is_open_to_members_from_the_beginning() {
    let mut story = Story::new("shared");
    story.assert_bob_is_shut_out("shared");
    story.join_and_leave();
    story.assert_bob_sees(&["before the invite", "while invited", "while joined"]);
    story.come_back();
    story.assert_bob_sees(&[
        "before the invite",
        "while invited",
        "while joined",
        "after leaving",
        "after coming back",
    ]);
}

#[test]
fn invited_history_starts_with_the_invite() {
    let mut story = Story::new("invited");
    story.assert_bob_is_shut_out("invited");
    story.join_and_leave();
    story.assert_bob_sees(&["while invited", "while joined"]);
    story.come_back();
    story.assert_bob_sees(&["while invited", "while joined", "after coming back"]);
}

#[test]
fn joined_history_is_what_happened_in_ones_presence() {
    let mut story = Story::new("joined");
    story.assert_bob_is_shut_out("joined");
    story.join_and_leave();
    story.assert_bob_sees(&["while joined"]);
    story.come_back();
    story.assert_bob_sees(&["while joined", "after coming back"]);
}

#[test]
fn world_readable_history_is_open_to_every_user() {
    let mut story = Story::new("world_readable");
    story.assert_bob_sees(&["before the invite", "while invited"]);
    story.join_and_leave();
    let stranger = ward().user("stranger");
    let all = ["before the invite", "while invited", "while joined", "after leaving"];
    assert_eq!(bodies(&stranger.history(&story.room)), all);
    for (what, id) in &story.said {
        for reader in [&stranger, &story.bob] {
            assert_eq!(reader.try_event(&story.room, id).ok()["content"]["body"], *what);
        }
    }
    stranger.anonymous().get(v3(&["rooms", &story.room, "messages"]).query("dir", "b")).refused(401, "M_MISSING_TOKEN");
    let txn = wardroom_testkit::unique("txn");
    let answer = stranger.try_send(&story.room, "m.room.message", &txn, wardroom_testkit::text("hi"));
    answer.refused(403, "M_FORBIDDEN");
    story.come_back();
    story.assert_bob_sees(&[
        "before the invite",
        "while invited",
        "while joined",
        "after leaving",
        "after coming back",
    ]);
}

#[test]
fn a_value_counts_for_the_events_sent_under_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let set =
        |value: &str| alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": value }));
    alice.say(&room, "open");
    set("joined");
    let hidden = alice.say(&room, "closed");
    set("shared");
    alice.say(&room, "open again");
    bob.join(&room);
    assert_eq!(bodies(&bob.history(&room)), ["open", "open again"]);
    bob.try_event(&room, &hidden).refused(404, "M_NOT_FOUND");
    let changes = bob.history(&room).iter().filter(|event| event["type"] == "m.room.history_visibility").count();
    assert_eq!(changes, 3, "the changes themselves are seen from either side");
    assert_eq!(bodies(&alice.history(&room)), ["open", "closed", "open again"]);
}

#[test]
fn an_unknown_value_means_shared() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let state = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "example.odd" } });
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": [state] }));
    alice.say(&room, "before");
    bob.try_messages(&room, "b", None, "5").refused(403, "M_FORBIDDEN");
    bob.join(&room);
    assert_eq!(bodies(&bob.history(&room)), ["before"]);
}

#[test]
fn sync_shows_no_more_than_the_other_reads() {
    let mut story = Story::new("joined");
    story.bob.join(&story.room);
    story.say("while joined");
    let first = story.bob.initial_sync();
    assert_eq!(bodies(timeline(&first, &story.room)), ["while joined"]);
    let since = first["next_batch"].as_str().unwrap().to_owned();
    story.bob.leave(&story.room);
    story.say("after leaving");
    let later = story.bob.try_sync(Some(&since), std::time::Duration::ZERO, None).ok();
    let left = &later["rooms"]["leave"][&story.room]["timeline"]["events"];
    assert!(bodies(events(left)).is_empty(), "{later}");
    assert_eq!(events(left).last().unwrap()["content"]["membership"], "leave", "{later}");
}

#[test]
fn a_banned_member_reads_nothing_from_after_the_ban() {
    let mut story = Story::new("shared");
    story.bob.join(&story.room);
    story.say("while joined");
    story.alice.on_member("ban", &story.room, &story.bob).ok();
    story.say("after leaving");
    // Whether a ban takes the earlier history away as well is left open.
    if story.bob.try_messages(&story.room, "b", None, "50").status == 200 {
        story.assert_bob_sees(&["before the invite", "while invited", "while joined"]);
    } else {
        let (_, id) = story.said.last().unwrap();
        story.bob.try_event(&story.room, id).refused(404, "M_NOT_FOUND");
        story.bob.try_messages(&story.room, "b", None, "50").refused(403, "M_FORBIDDEN");
    }
}
