//! Hours: where the records of a time begin, and how many of what there are.

use serde::{Deserialize, Serialize};
use wardroom_store::{Packed, Position, Scan};

use crate::{
    Act,
    error::AuditError,
    log::Inner,
    sequence::State,
    tables::{HOURS, NUMBERED, RECORDS},
};

/// An hour in milliseconds.
pub(crate) const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What is kept of an hour. A record belongs to the hour of its time or, if the clock went back, to that of the latest record
/// before it: so hours divide the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hour {
    /// Number of the first record.
    pub(crate) first: u64,
    /// Numbers of acts, and how many records there are of each.
    pub(crate) counts: Vec<(u16, u32)>,
}

/// What is read of a record to know its time.
#[derive(Deserialize)]
struct Time {
    at: u64,
}

impl Hour {
    pub(crate) fn count(&mut self, act: u16) {
        match self.counts.iter_mut().find(|(known, _)| *known == act) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.counts.push((act, 1)),
        }
    }
}

/// The hour of a time.
pub(crate) fn hour_of(ms: u64) -> u32 {
    u32::try_from(ms / HOUR_MS).unwrap_or(u32::MAX)
}

/// How an act is written in indexes: its place in the catalogue, to which acts are only ever appended.
pub(crate) fn number_of(act: Act) -> u16 {
    act as u16
}

/// The act of a number.
pub(crate) fn act_of(number: u16) -> Option<Act> {
    Act::ALL.get(usize::from(number)).copied()
}

impl Inner {
    /// Numbers between which all records of a time are: from the first, up to and without the second.
    pub(crate) async fn numbers_between(
        &self,
        state: &State,
        from_ms: Option<u64>,
        before_ms: Option<u64>,
    ) -> Result<(u64, u64), AuditError> {
        let first = match from_ms {
            None => Some(state.first),
            Some(ms) => self.hour_from(hour_of(ms)).await?,
        };
        let Some(first) = first else { return Ok((state.size, state.size)) };
        let first = first.max(state.first);
        let end = match before_ms {
            None => None,
            // A record may be behind later ones by as much as the clock ever went back.
            Some(ms) => self.hour_from(hour_of(ms.saturating_add(state.back_ms)).saturating_add(1)).await?,
        };
        let end = end.unwrap_or(state.size).max(first);
        let first = match from_ms {
            None => first,
            // What comes before a record is later than it by as much at most.
            Some(ms) => self.split(first, end, |at_ms| at_ms.saturating_add(state.back_ms) < ms).await?,
        };
        let end = match before_ms {
            None => end,
            Some(ms) => self.split(first, end, |at_ms| at_ms < ms.saturating_add(state.back_ms)).await?,
        };
        Ok((first, end))
    }

    /// A number in this range, or its end: the record right before it, if one in the range was looked at, is `is_before`, and the
    /// record at it, if so, is not. Where the clock went back there may be several; each keeps to what was looked at. What was
    /// deleted meanwhile counts as before.
    async fn split(&self, mut first: u64, mut end: u64, is_before: impl Fn(u64) -> bool) -> Result<u64, AuditError> {
        while first < end {
            let middle = first + (end - first) / 2;
            let Some(Packed((position, within))) = self.store.latest().get(&NUMBERED, &middle).await? else {
                first = middle + 1;
                continue;
            };
            let row = self.store.latest().get(&RECORDS, &(Position::new(position), within)).await?;
            let record = row.as_deref().and_then(|json| serde_json::from_slice::<Time>(json).ok());
            let Time { at } = record.ok_or(AuditError::Damaged(middle))?;
            (first, end) = if is_before(at) { (middle + 1, end) } else { (first, middle) };
        }
        Ok(first)
    }

    /// The first record of the first hour from this one on that has any.
    async fn hour_from(&self, hour: u32) -> Result<Option<u64>, AuditError> {
        let hours = self.store.latest().scan(&HOURS, Scan::all().from(&hour).limit(1)).await?;
        Ok(hours.into_iter().next().map(|(_, Packed(hour))| hour.first))
    }
}
