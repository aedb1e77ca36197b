//! Reports of rooms, events and users to the administrators of this server (specification, "Reporting Content").
//!
//! What was reported is kept with the reason until an administrator has dealt with it. Nothing of it is logged but
//! that a report came. Whether a reported room or user exists is not told to the reporter.

use ruma::{EventId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Packed, Position, Profile, Scan, Seal, Table};

use crate::{
    Action, Actor, Rooms,
    error::RoomError,
    ids::{EventNid, NS_USER, RoomNid, UserNid},
};

/// Longest reason, in characters.
pub const REPORT_REASON_CHARS_MAX: usize = 2_000;
/// Reports of one user that are kept; beyond, the oldest of that user makes room.
pub const REPORTS_PER_USER_MAX: usize = 1_000;

/// (reporter, position of the commit) to the report.
pub(crate) const REPORTS: Table<(UserNid, Position), Packed<ReportRecord>> =
    Table::new(0x0231, "reports", Profile::Scan, Seal::System).compressed();
/// Position of the commit to the reporter: all reports in the order in which they came.
pub(crate) const REPORT_TIMES: Table<Position, Packed<UserNid>> =
    Table::new(0x0232, "report_times", Profile::Scan, Seal::System);

/// What was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reported {
    /// An event of a room.
    Event(RoomNid, EventNid),
    /// A room.
    Room(RoomNid),
    /// A user.
    User(UserNid),
}

/// A report at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportRecord {
    reported: Reported,
    at_ms: u64,
    reason: String,
    score: Option<i8>,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What orders reports and names one.
    pub position: Position,
    /// Who reports.
    pub reporter: UserNid,
    /// What was reported.
    pub reported: Reported,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why, in the reporter's words; may be empty.
    pub reason: String,
    /// How bad, from -100 (most offensive) to 0, where an old client says so.
    pub score: Option<i8>,
}

impl Rooms {
    /// Reports an event to the administrators. Who is in the room and sees the event may.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where there is no such event, and for everybody else;
    /// [`RoomError::InvalidParam`] where the reason is too long.
    pub async fn report_event(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        event: &EventId,
        reason: String,
        score: Option<i8>,
    ) -> Result<(), RoomError> {
        check_reason(&reason)?;
        let view = self.view(room).await?.ok_or(RoomError::NoSuchEvent)?;
        let permitted = self.engine.permit(actor, &view, Action::Report).await;
        if permitted.is_err() || !self.engine.is_joined(actor.nid, view.nid).await? {
            return Err(RoomError::NoSuchEvent);
        }
        let event = self.event(actor, room, event).await?.nid;
        self.keep_report(actor, Reported::Event(view.nid, event), reason, score).await
    }

    /// Reports a room to the administrators. Everybody may, and nobody learns whether the room exists.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where the reason is too long.
    pub async fn report_room(&self, actor: Actor<'_>, room: &RoomId, reason: String) -> Result<(), RoomError> {
        check_reason(&reason)?;
        let Some(view) = self.view(room).await? else { return Ok(()) };
        match self.engine.permit(actor, &view, Action::Report).await {
            Err(RoomError::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => self.keep_report(actor, Reported::Room(view.nid), reason, None).await,
        }
    }

    /// Reports a user to the administrators. Everybody may; whether there is such a user is for the caller to know.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where the reason is too long.
    pub async fn report_user(
        &self,
        actor: Actor<'_>,
        user: &UserId,
        exists: bool,
        reason: String,
    ) -> Result<(), RoomError> {
        check_reason(&reason)?;
        match self.engine.store.interner().lookup(NS_USER, user.as_str()).await? {
            Some(user) if exists => self.keep_report(actor, Reported::User(UserNid::new(user)), reason, None).await,
            _ => Ok(()),
        }
    }

    async fn keep_report(
        &self,
        actor: Actor<'_>,
        reported: Reported,
        reason: String,
        score: Option<i8>,
    ) -> Result<(), RoomError> {
        let store = &self.engine.store;
        let scan = Scan::prefix(&actor.nid).limit(REPORTS_PER_USER_MAX);
        let there = store.latest().scan_keys(&REPORTS, scan).await?;
        let mut batch = Batch::default();
        if let Some(oldest) = there.first().filter(|_| there.len() >= REPORTS_PER_USER_MAX) {
            batch.delete(&REPORTS, oldest);
            batch.delete(&REPORT_TIMES, &oldest.1);
        }
        let record = ReportRecord { reported, at_ms: self.engine.clock.now_ms(), reason, score };
        batch.put(&REPORTS, &(actor.nid, Position::COMMIT), &Packed(record));
        batch.put(&REPORT_TIMES, &Position::COMMIT, &Packed(actor.nid));
        let position = store.commit(batch).await?;
        let what = match reported {
            Reported::Event(..) => "an event",
            Reported::Room(_) => "a room",
            Reported::User(_) => "a user",
        };
        tracing::info!(report = position.get(), "{what} was reported to the administrators");
        Ok(())
    }

    /// Reports in the order in which they came, after one of them or from the first; for administrators.
    pub async fn reports(&self, after: Option<Position>, limit: usize) -> Result<Vec<Report>, RoomError> {
        let store = self.engine.store.latest();
        let mut scan = Scan::all().limit(limit);
        if let Some(after) = after {
            scan = scan.after(&after);
        }
        let keys = store.scan(&REPORT_TIMES, scan).await?;
        let keys: Vec<_> = keys.into_iter().map(|(position, Packed(reporter))| (reporter, position)).collect();
        let records = store.multi_get(&REPORTS, &keys).await?;
        let reports = keys.into_iter().zip(records).filter_map(|((reporter, position), record)| {
            let Packed(ReportRecord { reported, at_ms, reason, score }) = record?;
            Some(Report { position, reporter, reported, at_ms, reason, score })
        });
        Ok(reports.collect())
    }
}

impl Rooms {
    /// One report; none where there is none, or none any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn report_at(&self, position: u64) -> Result<Option<Report>, RoomError> {
        let position = Position::new(position);
        let store = self.engine.store.latest();
        let Some(Packed(reporter)) = store.get(&REPORT_TIMES, &position).await? else { return Ok(None) };
        let record = store.get(&REPORTS, &(reporter, position)).await?;
        Ok(record.map(|Packed(ReportRecord { reported, at_ms, reason, score })| Report {
            position,
            reporter,
            reported,
            at_ms,
            reason,
            score,
        }))
    }

    /// Deletes a report that was dealt with; answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_report(&self, position: Position) -> Result<bool, RoomError> {
        let store = &self.engine.store;
        let Some(Packed(reporter)) = store.latest().get(&REPORT_TIMES, &position).await? else { return Ok(false) };
        let mut batch = Batch::default();
        batch.delete(&REPORT_TIMES, &position);
        batch.delete(&REPORTS, &(reporter, position));
        store.commit(batch).await?;
        Ok(true)
    }
}

fn check_reason(reason: &str) -> Result<(), RoomError> {
    if reason.chars().count() <= REPORT_REASON_CHARS_MAX {
        return Ok(());
    }
    let sentence = format!("reason: must not be longer than {REPORT_REASON_CHARS_MAX} characters.");
    Err(RoomError::InvalidParam(sentence))
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::{REPORT_REASON_CHARS_MAX, REPORTS_PER_USER_MAX, Reported};
    use crate::{
        Preset, RoomError,
        tests::{World, new_room, run},
    };

    #[test]
    fn reports_are_kept_in_order_and_each_user_has_room_for_so_many() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
            let nid = world.rooms.view(&room).await.unwrap().unwrap().nid;
            world.rooms.report_room(bob.actor(), &room, "first".to_owned()).await.unwrap();
            let user = user_id!("@alice:a.example");
            world.rooms.report_user(bob.actor(), user, true, String::new()).await.unwrap();
            world.rooms.report_user(bob.actor(), user, false, "not kept".to_owned()).await.unwrap();
            world.rooms.report_room(bob.actor(), room_id!("!nowhere:a.example"), "not kept".to_owned()).await.unwrap();
            for number in 0..=REPORTS_PER_USER_MAX {
                world.rooms.report_room(alice.actor(), &room, number.to_string()).await.unwrap();
            }
            let all = world.rooms.reports(None, 10_000).await.unwrap();
            assert_eq!(all.len(), 2 + REPORTS_PER_USER_MAX);
            assert!(all.is_sorted_by_key(|report| report.position));
            assert_eq!((all[0].reported, &*all[0].reason), (Reported::Room(nid), "first"));
            assert_eq!((all[1].reported, all[1].reporter), (Reported::User(alice.actor().nid), bob.actor().nid));
            assert_eq!(all[2].reason, "1", "the oldest of hers made room");
            let page = world.rooms.reports(Some(all[1].position), 1).await.unwrap();
            assert_eq!(page, [all[2].clone()]);
        });
    }

    #[test]
    fn only_members_report_events_and_reasons_end() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let event = world.rooms.current_state(alice.actor(), &room).await.unwrap()[0].pdu.event_id().to_owned();
            let report = |by| world.rooms.report_event(by, &room, &event, "x".to_owned(), Some(-5));
            assert!(matches!(report(bob.actor()).await, Err(RoomError::NoSuchEvent)));
            report(alice.actor()).await.unwrap();
            assert_eq!(world.rooms.reports(None, 10).await.unwrap()[0].score, Some(-5));
            for (length, fits) in [(REPORT_REASON_CHARS_MAX, true), (REPORT_REASON_CHARS_MAX + 1, false)] {
                let reported = world.rooms.report_room(bob.actor(), &room, "é".repeat(length)).await;
                assert_eq!(reported.is_ok(), fits, "{length}");
            }
        });
    }
}
