//! The one place where the beginning, the end and the review of an emergency are written, with their audit records.

use ruma::{OwnedUserId, UserId};
use wardroom_audit::{Act, Record};
use wardroom_rooms::{RoomNid, UserNid};
use wardroom_store::{Batch, CommitError, Json, Scan};

use super::{
    EndedWhy, Review,
    grants::{Grant, Working},
    tables::{BY_ROOM, BY_USER, EmergencyRow, EndRow, GOING_ON, RECORDS, UNREVIEWED},
};
use crate::{Care, CareError};

/// Attempts to change a record against others who do.
const ATTEMPTS_MAX: u32 = 8;

/// What becomes of a record that is to be changed.
enum Change {
    /// It is this now.
    To(Box<EmergencyRow>),
    /// Nothing.
    Nothing,
}

impl Care {
    /// The record with this number.
    pub(crate) async fn record(&self, id: u64) -> Result<Option<EmergencyRow>, CareError> {
        Ok(self.0.store.latest().get(&RECORDS, &id).await?.map(|Json(row)| row))
    }

    /// The newest records of a user.
    pub(super) async fn newest_of(&self, user: UserNid, limit: usize) -> Result<Vec<(u64, EmergencyRow)>, CareError> {
        let view = self.0.store.latest();
        let keys = view.scan_keys(&BY_USER, Scan::prefix(&user).reverse().limit(limit)).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (_, id) in keys {
            found.extend(view.get(&RECORDS, &id).await?.map(|Json(row)| (id, row)));
        }
        Ok(found)
    }

    /// **Begins** an emergency: from the commit on the gate lets the user in. Whoever has the answer works on it.
    pub(super) async fn record_begin(
        &self,
        user: &UserId,
        row: &EmergencyRow,
    ) -> Result<(u64, Option<Working>), CareError> {
        let grants = self.0.judge.grants();
        let (id, key) = (grants.new_id(), (row.room, row.user));
        let mut batch = Batch::default();
        batch.expect_absent(&RECORDS, &id);
        batch.expect_absent(&GOING_ON, &key);
        batch.put(&RECORDS, &id, &Json(row.clone()));
        batch.put(&GOING_ON, &key, &id);
        batch.put(&UNREVIEWED, &id, &());
        batch.put(&BY_ROOM, &(row.room, id), &());
        batch.put(&BY_USER, &(row.user, id), &());
        let mut record = about(Act::EmergencyBegin, id, row).kind(&*row.reason_code).why(&*row.reason_text);
        // Asked for by a message to the service user, it is no request.
        record.who.user.get_or_insert_with(|| user.to_string());
        self.0.audit.add(&mut batch, record);
        let (known, name, grant) = (grants.clone(), user.to_owned(), Grant::of(id, row));
        let room = row.room;
        batch.on_commit(move |_| known.put(room, name, grant));
        self.0.store.commit(batch).await?;
        tracing::info!(emergency = id, room = row.room.get(), user = row.user.get(), "emergency access has begun");
        Ok((id, grants.work_on(room, user, id)))
    }

    /// **Ends** an emergency: from the commit on the gate keeps the user out. False where it had ended already.
    pub(super) async fn record_end(&self, id: u64, why: EndedWhy, by: Option<&UserId>) -> Result<bool, CareError> {
        let end = EndRow { at_ms: self.now_ms(), why, by: by.map(ToString::to_string) };
        let ended = self.change_record(id, |row| match &row.end {
            Some(_) => Ok(Change::Nothing),
            None => Ok(Change::To(Box::new(EmergencyRow { end: Some(end.clone()), ..row }))),
        });
        let ended = ended.await?.is_some();
        if ended {
            tracing::info!(emergency = id, why = why.name(), "emergency access has ended");
        }
        Ok(ended)
    }

    /// **Reviews** an emergency.
    pub(super) async fn record_review(&self, id: u64, review: Review) -> Result<EmergencyRow, CareError> {
        let reviewed = self.change_record(id, |row| {
            if row.end.is_none() {
                return Err(CareError::Conflict(
                    "The emergency access goes on: end it before you review it.".to_owned(),
                ));
            }
            if row.review.is_some() {
                return Err(CareError::Conflict("The emergency access was reviewed already.".to_owned()));
            }
            if row.user_id == review.by {
                return Err(CareError::Refused("Nobody reviews their own emergency access.".to_owned()));
            }
            Ok(Change::To(Box::new(EmergencyRow { review: Some(review.clone()), ..row })))
        });
        let reviewed = reviewed.await?.ok_or(CareError::NoSuchEmergency)?;
        tracing::info!(emergency = id, "emergency access was reviewed");
        Ok(reviewed)
    }

    /// Notes that the user was let in, or that everybody was told besides.
    pub(super) async fn record_entered(&self, id: u64, told: bool) -> Result<(), CareError> {
        let entered = self.change_record(id, |row| {
            let known = row.end.is_some() || row.entered && row.told >= told;
            Ok(if known { Change::Nothing } else { Change::To(Box::new(EmergencyRow { entered: true, told, ..row })) })
        });
        entered.await.map(drop)
    }

    /// Notes that nothing of an emergency is left to do.
    pub(super) async fn record_settled(&self, id: u64, row: &EmergencyRow, user: &UserId) -> Result<(), CareError> {
        let (known, room, name) = (self.0.judge.grants().clone(), row.room, user.to_owned());
        let mut batch = Batch::default();
        batch.delete(&GOING_ON, &(row.room, row.user));
        batch.on_commit(move |_| known.remove(room, &name, id));
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// Changes a record; answers with it as it is then, where it changed.
    async fn change_record(
        &self,
        id: u64,
        change: impl Fn(EmergencyRow) -> Result<Change, CareError>,
    ) -> Result<Option<EmergencyRow>, CareError> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.0.store.latest().get_versioned(&RECORDS, &id).await?;
            let (Json(before), version) = read.ok_or(CareError::NoSuchEmergency)?;
            let Change::To(after) = change(before.clone())? else { return Ok(None) };
            let mut batch = Batch::default();
            batch.expect_version(&RECORDS, &id, Some(version));
            batch.put(&RECORDS, &id, &Json((*after).clone()));
            for record in records_of_change(id, &before, &after) {
                self.0.audit.add(&mut batch, record);
            }
            if after.review.is_some() {
                batch.delete(&UNREVIEWED, &id);
            }
            let stage = Grant::of(id, &after).stage;
            if let Some(user) = parsed(&after.user_id) {
                let (known, room) = (self.0.judge.grants().clone(), after.room);
                batch.on_commit(move |_| known.change(room, &user, id, |grant| grant.stage = stage));
            }
            match self.0.store.commit(batch).await {
                Err(CommitError::Conflict { .. }) => {}
                done => return Ok(done.map(|_| Some(*after))?),
            }
        }
        Err(CareError::Rooms(wardroom_rooms::RoomError::Busy))
    }

    /// The numbers of records in one of the lists, the newest first, before that one.
    pub(super) async fn listed(&self, list: List, before: Option<u64>, limit: usize) -> Result<Vec<u64>, CareError> {
        let view = self.0.store.latest();
        Ok(match list {
            List::All => view.scan_keys(&RECORDS, up_to(Scan::all(), before.as_ref()).reverse().limit(limit)).await?,
            List::Unreviewed => {
                view.scan_keys(&UNREVIEWED, up_to(Scan::all(), before.as_ref()).reverse().limit(limit)).await?
            }
            List::OfRoom(room) => {
                let scan = up_to(Scan::prefix(&room), before.map(|before| (room, before)).as_ref());
                let keys = view.scan_keys(&BY_ROOM, scan.reverse().limit(limit)).await?;
                keys.into_iter().map(|(_, id)| id).collect()
            }
            List::OfUser(user) => {
                let scan = up_to(Scan::prefix(&user), before.map(|before| (user, before)).as_ref());
                let keys = view.scan_keys(&BY_USER, scan.reverse().limit(limit)).await?;
                keys.into_iter().map(|(_, id)| id).collect()
            }
        })
    }

    /// Those that wait longest for their review.
    pub(super) async fn unreviewed(&self, limit: usize) -> Result<Vec<u64>, CareError> {
        Ok(self.0.store.latest().scan_keys(&UNREVIEWED, Scan::all().limit(limit)).await?)
    }
}

fn about(act: Act, id: u64, row: &EmergencyRow) -> Record {
    Record::of(act).name(id.to_string()).room(&*row.room_id).user(&*row.user_id)
}

/// What the audit trail hears of a change: that it ended, that it was reviewed. Notes of reviewers are not repeated there.
fn records_of_change(id: u64, before: &EmergencyRow, after: &EmergencyRow) -> Vec<Record> {
    let ended = after.end.as_ref().filter(|_| before.end.is_none());
    let ended = ended.map(|end| about(Act::EmergencyEnd, id, after).detail(end.why.name()));
    let reviewed = after.review.as_ref().filter(|_| before.review.is_none());
    let reviewed = reviewed.map(|review| about(Act::EmergencyReview, id, after).detail(review.verdict.name()));
    ended.into_iter().chain(reviewed).collect()
}

/// Lists of records.
#[derive(Clone, Copy, Debug)]
pub(super) enum List {
    All,
    Unreviewed,
    OfRoom(RoomNid),
    OfUser(UserNid),
}

fn up_to<K: wardroom_store::Key>(scan: Scan, before: Option<&K>) -> Scan {
    match before {
        Some(before) => scan.before(before),
        None => scan,
    }
}

/// A user id of a record.
pub(super) fn parsed(user: &str) -> Option<OwnedUserId> {
    OwnedUserId::try_from(user).ok()
}
