//! How rooms end, over the in-memory store, with a clock that moves when it is told to.

use std::time::Duration;

use ruma::user_id;
use serde_json::json;
use wardroom_store::{Batch, Scan};

use super::{ACTIVITY, FORGOTTEN};
use crate::{
    MemberProfile, Membership, Override, Preset, Profiles, RetentionSettings, RoomError, Warning, fsck,
    retention::{Terms, tests::Ward},
    tables::{EVENTS, ROOMS},
    tests::{Person, new_room, run},
};

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_millis(days * DAY_MS))
}

impl Ward {
    async fn ending(change: impl FnOnce(&mut RetentionSettings)) -> Self {
        Self::keeping("12", |settings| {
            settings.default = Terms::default();
            change(settings);
        })
        .await
    }

    /// What the server does every hour, to its end.
    async fn hour(&self) {
        self.purge().await;
        self.world.rooms.end_rooms(self.now()).await.unwrap();
        let profiles = Profiles::new(|_| Box::pin(async { MemberProfile::default() }));
        let running = tokio::spawn(self.world.rooms.clone().run_tasks(profiles));
        for task in self.world.rooms.tasks().await.unwrap() {
            let done = self.world.rooms.finished_task(&task.id).await.unwrap().unwrap();
            assert_eq!(done.error, None);
        }
        running.abort();
        self.purge().await;
    }

    async fn is_gone(&self) -> bool {
        self.world.rooms.view(&self.room).await.unwrap().is_none()
    }

    async fn leave_and_forget(&self, who: &Person) {
        self.world.rooms.leave(who.actor(), &self.room, None).await.unwrap();
        self.world.rooms.forget(who.actor(), &self.room).await.unwrap();
    }

    async fn marks(&self) -> usize {
        self.world.store.latest().scan_keys(&FORGOTTEN, Scan::all()).await.unwrap().len()
    }

    async fn membership(&self) -> Membership {
        let room = self.world.rooms.room_nid(&self.room).await.unwrap().unwrap();
        self.world.rooms.membership(self.alice.actor().nid, room).await.unwrap().unwrap().membership
    }
}

#[test]
fn a_room_that_everybody_has_forgotten_goes_and_others_stay() {
    run(async {
        let ward = Ward::ending(|settings| settings.ends.forgotten = days(7)).await;
        let bob = ward.world.person(user_id!("@bob:a.example")).await;
        let join = || ward.world.rooms.join(bob.actor(), &ward.room, MemberProfile::default(), None);
        join().await.unwrap();
        ward.say("hello").await;
        ward.leave_and_forget(&bob).await;
        assert_eq!(ward.marks().await, 0, "alice is there");
        ward.world.rooms.leave(ward.alice.actor(), &ward.room, None).await.unwrap();
        ward.pass(30 * DAY_MS);
        ward.hour().await;
        assert!(!ward.is_gone().await, "alice may still read what was said while she was there");
        ward.world.rooms.forget(ward.alice.actor(), &ward.room).await.unwrap();
        ward.pass(6 * DAY_MS);
        join().await.unwrap();
        ward.pass(30 * DAY_MS);
        ward.hour().await;
        assert!(!ward.is_gone().await, "bob came back");
        assert_eq!(ward.marks().await, 0);
        ward.leave_and_forget(&bob).await;
        ward.pass(7 * DAY_MS - 1);
        ward.hour().await;
        assert!(!ward.is_gone().await);
        ward.pass(1);
        ward.hour().await;
        assert!(ward.is_gone().await);
        let store = ward.world.store.latest();
        assert_eq!(store.scan_keys(&EVENTS, Scan::all()).await.unwrap().len(), 0);
        assert_eq!(store.scan_keys(&ACTIVITY, Scan::all()).await.unwrap().len(), 0);
        assert_eq!(ward.marks().await, 0);
        assert!(matches!(join().await, Err(RoomError::NotFound(_))));
    });
}

#[test]
fn a_room_that_was_forgotten_before_marks_were_made_is_found() {
    run(async {
        let ward = Ward::ending(|settings| settings.ends.forgotten = days(7)).await;
        ward.leave_and_forget(&ward.alice).await;
        let room = ward.world.store.latest().scan_keys(&ROOMS, Scan::all()).await.unwrap()[0];
        let mut batch = Batch::default();
        batch.delete(&FORGOTTEN, &room);
        batch.delete(&ACTIVITY, &room);
        ward.world.store.commit(batch).await.unwrap();
        ward.hour().await;
        assert_eq!(ward.marks().await, 1);
        ward.pass(7 * DAY_MS);
        ward.hour().await;
        assert!(ward.is_gone().await);
    });
}

#[test]
fn somebody_who_comes_back_in_time_finds_the_room_as_it_was() {
    run(async {
        let ward = Ward::ending(|settings| settings.ends.forgotten = days(7)).await;
        ward.leave_and_forget(&ward.alice).await;
        ward.pass(8 * DAY_MS);
        // It is to be destroyed, and nobody has begun.
        ward.world.rooms.end_rooms(ward.now()).await.unwrap();
        ward.world.rooms.join(ward.alice.actor(), &ward.room, MemberProfile::default(), None).await.unwrap();
        ward.hour().await;
        assert!(!ward.is_gone().await);
        ward.say("back").await;
        assert_eq!(ward.seen().await, ["back"]);
    });
}

#[test]
fn a_room_of_state_alone_goes_after_its_members_and_a_space_stays() {
    run(async {
        let ward = Ward::ending(|settings| {
            settings.ends.state_only = days(42);
            settings.default = Terms { max_ms: Some(60 * DAY_MS), min_ms: None };
        })
        .await;
        let mut space = new_room("12", Preset::PrivateChat);
        space.creation_content.insert("type".to_owned(), "m.space".into());
        let space = ward.world.rooms.create(ward.alice.actor(), space).await.unwrap();
        let spoken = ward.world.rooms.create(ward.alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
        let content = serde_json::value::to_raw_value(&json!({ "msgtype": "m.text", "body": "said" })).unwrap();
        ward.world.rooms.send(ward.alice.actor(), &spoken, "m.room.message", content, None).await.unwrap();
        ward.pass(42 * DAY_MS);
        ward.hour().await;
        assert!(!ward.is_gone().await, "it may have been an hour later");
        ward.pass(HOUR_MS);
        ward.hour().await;
        assert!(ward.is_gone().await);
        assert_eq!(ward.membership().await, Membership::Leave);
        let there = async |room| ward.world.rooms.view(room).await.unwrap().is_some();
        assert!(there(&space).await && there(&spoken).await, "in one of them is something to read");
        ward.pass(18 * DAY_MS);
        ward.hour().await;
        ward.hour().await;
        assert!(there(&space).await && !there(&spoken).await, "its time was over");
    });
}

#[test]
fn what_was_said_long_ago_goes_and_everybody_stays() {
    run(async {
        let ward = Ward::ending(|settings| settings.ends.inactive = days(180)).await;
        ward.say("first").await;
        ward.pass(100 * DAY_MS);
        ward.say("last").await;
        ward.pass(180 * DAY_MS);
        ward.hour().await;
        assert_eq!(ward.seen().await, ["first", "last"]);
        let end = ward.world.rooms.view(&ward.room).await.unwrap().unwrap().end;
        ward.pass(HOUR_MS);
        ward.world.rooms.end_rooms(ward.now()).await.unwrap();
        assert!(ward.seen().await.is_empty(), "hidden at once");
        let done = ward.purge().await;
        assert_eq!((done.events, ward.purge().await.keys), (2, 2));
        assert_eq!(ward.found("last").await, (0, 0));
        assert_eq!(ward.membership().await, Membership::Join);
        let view = ward.world.rooms.view(&ward.room).await.unwrap().unwrap();
        assert_eq!((view.end, view.joined), (end, 1), "nobody hears of it, nobody goes");
        ward.say("and on").await;
        ward.hour().await;
        assert_eq!(ward.seen().await, ["and on"]);
        ward.pass(181 * DAY_MS);
        ward.hour().await;
        assert!(ward.seen().await.is_empty(), "again");
        assert_eq!(fsck(&ward.world.store).await.unwrap().problems, Vec::<String>::new());
    });
}

#[test]
fn administrators_say_when_a_room_ends_and_what_must_be_kept_is_kept() {
    run(async {
        let ward = Ward::ending(|settings| settings.ends.inactive = days(10)).await;
        let set = |inactive_ms, min_ms| {
            let terms = Terms { max_ms: None, min_ms };
            ward.world.rooms.set_retention_override(&ward.room, Some(Override { terms, inactive_ms }))
        };
        ward.say("said").await;
        set(Some(0), None).await.unwrap();
        ward.pass(20 * DAY_MS);
        ward.hour().await;
        assert_eq!(ward.seen().await.len(), 1, "switched off");
        set(Some(30 * DAY_MS), None).await.unwrap();
        ward.hour().await;
        assert_eq!(ward.seen().await.len(), 1, "later than elsewhere");
        set(Some(15 * DAY_MS), Some(40 * DAY_MS)).await.unwrap();
        ward.hour().await;
        assert_eq!(ward.seen().await.len(), 1, "to be kept");
        ward.pass(20 * DAY_MS);
        assert_eq!(ward.seen().await.len(), 0);
        let refused = set(Some(u64::MAX), None).await;
        assert!(matches!(refused, Err(RoomError::InvalidParam(sentence)) if sentence.contains("inactive_lifetime")));
    });
}

#[test]
fn members_are_told_before_and_whoever_says_something_keeps_the_room() {
    run(async {
        let ward = Ward::ending(|settings| {
            settings.ends.inactive = days(30);
            settings.notice_before = Duration::from_millis(7 * DAY_MS);
        })
        .await;
        let told = async || match ward.world.rooms.next_notice().await.unwrap() {
            Some(notice) if notice.users.is_empty() => {
                ward.world.rooms.note_told(&notice.told()).await.unwrap();
                None
            }
            Some(notice) => {
                ward.world.rooms.note_told(&notice.told()).await.unwrap();
                Some(notice)
            }
            None => None,
        };
        ward.say("said").await;
        ward.pass(22 * DAY_MS);
        ward.hour().await;
        assert_eq!(told().await, None);
        ward.pass(DAY_MS + HOUR_MS);
        ward.hour().await;
        let notice = told().await.unwrap();
        assert_eq!(
            (notice.warning, &*notice.users),
            (Warning::Inactive, &[user_id!("@alice:a.example").to_owned()][..])
        );
        assert_eq!(notice.due_ms, ward.now() + 7 * DAY_MS);
        assert_eq!(told().await, None);
        ward.say("we still need it").await;
        ward.pass(10 * DAY_MS);
        ward.hour().await;
        assert_eq!((ward.seen().await.len(), told().await), (2, None));
        // The server was off when it should have told them: it ends the room later for it.
        ward.pass(100 * DAY_MS);
        ward.hour().await;
        assert_eq!(told().await.unwrap().warning, Warning::Inactive);
        ward.pass(7 * DAY_MS - 1);
        ward.hour().await;
        assert_eq!(ward.seen().await.len(), 2);
        ward.pass(1);
        ward.hour().await;
        assert_eq!((ward.seen().await.len(), told().await), (0, None));
    });
}

#[test]
fn members_are_told_once_of_the_first_purge_and_of_what_goes_earlier() {
    run(async {
        let ward = Ward::ending(|settings| {
            settings.notice_before = Duration::from_millis(7 * DAY_MS);
            settings.notice_blocks = true;
        })
        .await;
        let told = async || {
            let notice = ward.world.rooms.next_notice().await.unwrap()?;
            ward.world.rooms.note_told(&notice.told()).await.unwrap();
            (!notice.users.is_empty()).then_some((notice.warning, notice.max_ms))
        };
        ward.say("old").await;
        ward.hour().await;
        assert_eq!(told().await, None);
        ward.pass(40 * DAY_MS);
        ward.set_policy(json!({ "max_lifetime": 30 * DAY_MS })).await.unwrap();
        ward.hour().await;
        assert_eq!(told().await, Some((Warning::Shorter, Some(30 * DAY_MS))));
        assert!(ward.seen().await.is_empty(), "hidden all the same");
        ward.hour().await;
        assert_eq!((told().await, told().await), (None, None), "once");
        ward.set_policy(json!({ "max_lifetime": 60 * DAY_MS })).await.unwrap();
        assert_eq!(ward.seen().await, ["old"], "nothing was purged yet");
        ward.hour().await;
        assert_eq!(told().await, None, "longer is no news");
        ward.set_policy(json!({ "max_lifetime": 20 * DAY_MS })).await.unwrap();
        ward.pass(7 * DAY_MS);
        ward.hour().await;
        assert_eq!(told().await, Some((Warning::Shorter, Some(20 * DAY_MS))));
        ward.set_policy(json!({})).await.unwrap();
        assert!(ward.seen().await.is_empty(), "and now it was");
    });
}
