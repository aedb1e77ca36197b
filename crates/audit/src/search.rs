//! Reading records.

use std::ops::Range;

use wardroom_store::{Packed, Position, Scan};

use crate::{
    Act, AuditLog, Outcome, Record,
    error::AuditError,
    hours::number_of,
    index::{Posting, Term},
    log::Inner,
    postings::{Postings, Work},
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

/// Records that one call of [`AuditLog::page`] reads at most.
const READ_MAX: usize = 10_000;
/// Records that such a call reads at once at least, where it has to look at all of them.
const WALK_MIN: usize = 100;
/// What one such call reads of the index at most, in postings.
const WORK_MAX: usize = 300_000;

/// A part of what was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub entries: Vec<Entry>,
    /// Behind which number to look for more; none where there are no more.
    pub next: Option<u64>,
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
    /// Records in their order from that number on, at most [`ENTRIES_MAX`]. Those whose time is over are left out.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        inner.catch_up().await?;
        let scan = Scan::all().from(&from).limit(limit.min(ENTRIES_MAX));
        inner.read(inner.store.latest().scan(&NUMBERED, scan).await?).await
    }

    /// Records that meet conditions, however much has to be read for them.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn search(&self, query: &Query) -> Result<Vec<Entry>, AuditError> {
        let (mut query, mut found) = (query.clone(), Vec::new());
        let wanted = query.limit.min(ENTRIES_MAX);
        loop {
            query.limit = wanted - found.len();
            let page = self.page(&query).await?;
            found.extend(page.entries);
            query.after = page.next;
            if page.next.is_none() || found.len() == wanted {
                return Ok(found);
            }
        }
    }

    /// Records that meet conditions, as many as can be found with a bounded amount of work. There may be more even if there
    /// are none on this page.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn page(&self, query: &Query) -> Result<Page, AuditError> {
        let limit = query.limit.min(ENTRIES_MAX);
        let Some(inner) = self.inner().filter(|_| limit > 0) else { return Ok(Page::default()) };
        let state = inner.catch_up().await?;
        let (first, end) = inner.numbers_between(&state, query.from_ms, query.before_ms).await?;
        let (first, end) = match (query.after, query.newest_first) {
            (Some(after), false) => (first.max(after.saturating_add(1)), end),
            (Some(after), true) => (first, end.min(after)),
            (None, _) => (first, end),
        };
        if first >= end {
            return Ok(Page::default());
        }
        let terms = query.terms();
        if terms.is_empty() {
            return inner.walk(query, first..end).await;
        }
        let periods = inner.periods(&state).await?;
        let postings = |terms: Vec<Term<'_>>| {
            Union(terms.into_iter().map(|term| inner.postings(&periods, term, query.newest_first)).collect())
        };
        let unions = terms.into_iter().map(postings).collect();
        inner.meet(query, first..end, unions).await
    }
}

impl Query {
    /// What to look up, as few records as possible: those that are in one of each of these lists.
    fn terms(&self) -> Vec<Vec<Term<'_>>> {
        let mut terms = Vec::new();
        terms.extend(self.user.as_deref().map(|user| vec![Term::User(user)]));
        terms.extend(self.room.as_deref().map(|room| vec![Term::Room(room)]));
        if !terms.is_empty() {
            return terms;
        }
        if let Some(outcome) = self.outcome.filter(|outcome| *outcome != Outcome::Success) {
            terms.push(vec![Term::Failed(outcome.into())]);
        }
        if !self.acts.is_empty() {
            let mut acts: Vec<u16> = self.acts.iter().copied().map(number_of).collect();
            acts.sort_unstable();
            acts.dedup();
            terms.push(acts.into_iter().map(Term::Act).collect());
        }
        terms
    }

    /// Whether a record may meet the conditions, as far as its posting says.
    fn may_be_met_by(&self, posting: &Posting) -> bool {
        let at = u64::try_from(posting.at).unwrap_or_default();
        (self.acts.is_empty() || self.acts.iter().any(|act| number_of(*act) == posting.act))
            && self.outcome.is_none_or(|outcome| u8::from(outcome) == posting.outcome)
            && self.from_ms.is_none_or(|from_ms| at >= from_ms)
            && self.before_ms.is_none_or(|before_ms| at < before_ms)
    }
}

/// Postings of any of these terms.
struct Union(Vec<Postings>);

impl Union {
    async fn at(
        &mut self,
        inner: &Inner,
        bound: u64,
        newest: bool,
        work: &mut Work,
    ) -> Result<Option<Posting>, AuditError> {
        let mut best = None::<Posting>;
        for postings in &mut self.0 {
            let Some(next) = postings.at(inner, bound, work).await? else { continue };
            if best.is_none_or(|best| if newest { next.number > best.number } else { next.number < best.number }) {
                best = Some(next);
            }
        }
        Ok(best)
    }
}

impl Inner {
    /// Reads all records of a range, one after the other.
    async fn walk(&self, query: &Query, mut range: Range<u64>) -> Result<Page, AuditError> {
        let (limit, mut page, mut read) = (query.limit.min(ENTRIES_MAX), Page::default(), 0);
        while !range.is_empty() {
            let scan = Scan::range(&range.start, &range.end).limit(limit.clamp(WALK_MIN, ENTRIES_MAX));
            let scan = if query.newest_first { scan.reverse() } else { scan };
            let entries = self.read(self.store.latest().scan(&NUMBERED, scan).await?).await?;
            let Some(last) = entries.last().map(|entry| entry.number) else { break };
            read += entries.len();
            for entry in entries.into_iter().filter(|entry| query.is_met_by(&entry.record)) {
                let number = entry.number;
                page.entries.push(entry);
                if page.entries.len() == limit {
                    page.next = Some(number);
                    return Ok(page);
                }
            }
            if read >= READ_MAX {
                page.next = Some(last);
                return Ok(page);
            }
            range = if query.newest_first { range.start..last } else { last + 1..range.end };
        }
        Ok(page)
    }

    /// Reads the records that every one of these unions names.
    async fn meet(&self, query: &Query, range: Range<u64>, mut unions: Vec<Union>) -> Result<Page, AuditError> {
        let (limit, newest) = (query.limit.min(ENTRIES_MAX), query.newest_first);
        let start = if newest { range.end - 1 } else { range.start };
        let (mut bound, mut page, mut numbers) = (start, Page::default(), Vec::new());
        let mut work = Work(WORK_MAX);
        loop {
            let met = self.agreed(&mut unions, &mut bound, newest, &mut work).await?;
            let Some(posting) = met.filter(|posting| range.contains(&posting.number)) else {
                page.entries.extend(self.numbered(query, &numbers).await?);
                return Ok(page);
            };
            if query.may_be_met_by(&posting) {
                numbers.push(posting.number);
            }
            let enough = page.entries.len() + numbers.len() == limit;
            if enough || work.is_over() {
                page.entries.extend(self.numbered(query, &std::mem::take(&mut numbers)).await?);
            }
            if page.entries.len() == limit || work.is_over() {
                page.next = Some(bound);
                return Ok(page);
            }
            let further = if newest { bound.checked_sub(1) } else { bound.checked_add(1) };
            let Some(further) = further else {
                page.entries.extend(self.numbered(query, &numbers).await?);
                return Ok(page);
            };
            bound = further;
        }
    }

    /// The next posting that is in every union. Where there is much to read before the next, it may be in one only: then the
    /// work is over, and it stands for those before it.
    async fn agreed(
        &self,
        unions: &mut [Union],
        bound: &mut u64,
        newest: bool,
        work: &mut Work,
    ) -> Result<Option<Posting>, AuditError> {
        let (mut agreeing, mut turn) = (0, 0);
        loop {
            let next = unions[turn].at(self, *bound, newest, work).await?;
            let Some(next) = next else { return Ok(None) };
            agreeing = if next.number == *bound { agreeing + 1 } else { 1 };
            *bound = next.number;
            if agreeing == unions.len() || work.is_over() {
                return Ok(Some(next));
            }
            turn = (turn + 1) % unions.len();
        }
    }

    /// The records with these numbers that meet the conditions.
    async fn numbered(&self, query: &Query, numbers: &[u64]) -> Result<Vec<Entry>, AuditError> {
        let keys = self.store.latest().multi_get(&NUMBERED, numbers).await?;
        // What has no key any more was deleted meanwhile: its time was over.
        let rows = numbers.iter().zip(keys).filter_map(|(number, key)| Some((*number, key?)));
        let mut entries = self.read(rows.collect()).await?;
        entries.retain(|entry| query.is_met_by(&entry.record));
        Ok(entries)
    }

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
