//! Looking at emergencies, and reviewing them.

use ruma::{RoomId, UserId};
use wardroom_rooms::{NS_USER, UserNid};

use super::{Emergency, Review, ReviewVerdict, record::List};
use crate::{Care, CareError};

/// Longest note of a review, in characters.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// Records that one page looks at.
const LOOKED_AT_MAX: usize = 5_000;

/// Which emergencies.
#[derive(Clone, Debug, Default)]
pub struct EmergencyQuery<'a> {
    /// Only those that go on, or only others.
    pub open: Option<bool>,
    /// Only those with a review, or only others.
    pub reviewed: Option<bool>,
    /// Only those of this room.
    pub room: Option<&'a RoomId>,
    /// Only those of this user.
    pub user: Option<&'a UserId>,
    /// Only those before this one, where an earlier page ended.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Emergencies, the newest first.
#[derive(Clone, Debug, Default)]
pub struct EmergencyPage {
    /// They.
    pub emergencies: Vec<Emergency>,
    /// Where the next page goes on, where there may be more.
    pub next: Option<u64>,
}

impl EmergencyQuery<'_> {
    fn takes(&self, emergency: &Emergency) -> bool {
        self.open.is_none_or(|open| open == emergency.ended_ts.is_none())
            && self.reviewed.is_none_or(|reviewed| reviewed == emergency.review.is_some())
            && self.room.is_none_or(|room| *room == *emergency.room_id)
            && self.user.is_none_or(|user| *user == *emergency.user_id)
    }
}

impl Care {
    /// Emergencies, the newest first. A page may hold fewer than asked for although there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn emergencies(&self, query: EmergencyQuery<'_>) -> Result<EmergencyPage, CareError> {
        let Some(list) = self.list_of(&query).await? else { return Ok(EmergencyPage::default()) };
        let ids = self.listed(list, query.before, LOOKED_AT_MAX).await?;
        let (more, mut last, mut emergencies) = (ids.len() == LOOKED_AT_MAX, None, Vec::new());
        for id in ids {
            if emergencies.len() >= query.limit {
                return Ok(EmergencyPage { emergencies, next: last });
            }
            let found = self.record(id).await?.map(|row| Emergency::of(id, row));
            emergencies.extend(found.filter(|found| query.takes(found)));
            last = Some(id);
        }
        Ok(EmergencyPage { emergencies, next: last.filter(|_| more) })
    }

    /// The shortest list that holds all that are asked for.
    async fn list_of(&self, query: &EmergencyQuery<'_>) -> Result<Option<List>, CareError> {
        if let Some(room) = query.room {
            return Ok(self.0.rooms.room_nid(room).await?.map(List::OfRoom));
        }
        if let Some(user) = query.user {
            let nid = self.0.store.interner().lookup(NS_USER, user.as_str()).await?;
            return Ok(nid.map(|nid| List::OfUser(UserNid::new(nid))));
        }
        Ok(Some(if query.reviewed == Some(false) { List::Unreviewed } else { List::All }))
    }

    /// One emergency.
    ///
    /// # Errors
    /// [`CareError::NoSuchEmergency`]; when the store cannot be read.
    pub async fn emergency(&self, id: &str) -> Result<Emergency, CareError> {
        let id: u64 = id.parse().map_err(|_| CareError::NoSuchEmergency)?;
        let row = self.record(id).await?.ok_or(CareError::NoSuchEmergency)?;
        Ok(Emergency::of(id, row))
    }

    /// Reviews an emergency that has ended, once, by somebody else.
    ///
    /// # Errors
    /// [`CareError::NoSuchEmergency`], [`CareError::Conflict`], [`CareError::Refused`] where it is the reviewer's own,
    /// [`CareError::Invalid`]; when the store fails.
    pub async fn review_emergency(
        &self,
        id: &str,
        reviewer: &UserId,
        verdict: ReviewVerdict,
        note: String,
    ) -> Result<Emergency, CareError> {
        let id: u64 = id.parse().map_err(|_| CareError::NoSuchEmergency)?;
        if note.chars().count() > NOTE_CHARS_MAX {
            return Err(CareError::Invalid(format!("note: must have at most {NOTE_CHARS_MAX} characters.")));
        }
        let review = Review { by: reviewer.to_string(), ts: self.now_ms(), verdict, note };
        Ok(Emergency::of(id, self.record_review(id, review).await?))
    }
}
