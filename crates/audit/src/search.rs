//! Reading records.

use wardroom_store::{Packed, Position, Scan};

use crate::{
    Act, AuditLog, Outcome, Record,
    error::AuditError,
    log::Inner,
    tables::{NUMBERED, RECORDS},
};

/// Records that one read returns at most.
pub const ENTRIES_MAX: usize = 1_000;

/// A record and its number in the trail: the first has number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number.
    pub number: u64,
    /// The record.
    pub record: Record,
}

/// Which records are looked for: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// By this user, on behalf of this user, or done to this user.
    pub user: Option<String>,
    /// In this room.
    pub room: Option<String>,
    /// Of one of these kinds; any where there is none.
    pub acts: Vec<Act>,
    /// That went like this.
    pub outcome: Option<Outcome>,
    /// Recorded at this time or later, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    /// Recorded before this time.
    pub before_ms: Option<u64>,
    /// The newest first.
    pub newest_first: bool,
    /// Behind the record with this number, in the order asked for.
    pub after: Option<u64>,
    /// At most so many, and never more than [`ENTRIES_MAX`].
    pub limit: usize,
}

impl Query {
    /// Whether a record meets the conditions.
    pub fn is_met_by(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, found: &[&Option<String>]| {
            wanted.is_none() || found.iter().any(|found| *found == wanted)
        };
        is(&self.user, &[&record.who.user, &record.who.on_behalf_of, &record.on.user])
            && is(&self.room, &[&record.on.room])
            && (self.acts.is_empty() || self.acts.contains(&record.act))
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.from_ms.is_none_or(|from_ms| record.at >= from_ms)
            && self.before_ms.is_none_or(|before_ms| record.at < before_ms)
    }
}

impl AuditLog {
    /// Records in their order from that number on, at most [`ENTRIES_MAX`].
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        inner.catch_up().await?;
        let scan = Scan::all().from(&from).limit(limit.min(ENTRIES_MAX));
        inner.read(inner.store.latest().scan(&NUMBERED, scan).await?).await
    }

    /// Records that meet conditions.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn search(&self, query: &Query) -> Result<Vec<Entry>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        inner.catch_up().await?;
        let (limit, mut found) = (query.limit.min(ENTRIES_MAX), Vec::new());
        let mut after = query.after;
        while found.len() < limit {
            let mut scan = Scan::all().limit(ENTRIES_MAX);
            scan = match (after, query.newest_first) {
                (Some(after), false) => scan.after(&after),
                (Some(after), true) => scan.before(&after).reverse(),
                (None, false) => scan,
                (None, true) => scan.reverse(),
            };
            let page = inner.read(inner.store.latest().scan(&NUMBERED, scan).await?).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.number);
            found.extend(page.into_iter().filter(|entry| query.is_met_by(&entry.record)));
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl Inner {
    async fn read(&self, rows: Vec<(u64, Packed<(u64, u32)>)>) -> Result<Vec<Entry>, AuditError> {
        let keys: Vec<_> = rows.iter().map(|(_, Packed((at, number)))| (Position::new(*at), *number)).collect();
        let records = self.store.latest().multi_get(&RECORDS, &keys).await?;
        let entries = rows.iter().zip(records).map(|((number, _), json)| {
            let record = json.and_then(|json| serde_json::from_slice(&json).ok());
            let record = record.ok_or(AuditError::Damaged(*number))?;
            Ok(Entry { number: *number, record })
        });
        entries.collect()
    }
}
