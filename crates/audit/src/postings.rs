//! Reading lists of the index: postings of a term, in the order of their numbers or the other way round.

use std::collections::VecDeque;

use wardroom_store::{Hash16, Packed, Scan};

use crate::{
    error::AuditError,
    index::{Posting, Term, whole},
    log::Inner,
    sequence::State,
    tables::{INDEX, PERIODS},
};

/// Lists that the first read brings, and the most that one does: while lists are short, each read brings twice as many.
const LISTS_AT_FIRST: usize = 4;
const LISTS_AT_ONCE_MAX: usize = 64;
/// Postings of a read from which on lists are not short.
const POSTINGS_OF_SHORT_LISTS_MAX: usize = 4_096;
/// What reading a row costs, beside its postings.
const ROW_COST: usize = 10;

/// What a search may still read.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) usize);

impl Work {
    pub(crate) fn is_over(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, work: usize) {
        self.0 = self.0.saturating_sub(work);
    }
}

/// A period, and between which numbers its records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) period: u64,
    pub(crate) first: u64,
    /// Without this one.
    pub(crate) end: u64,
}

/// The postings of a term.
#[derive(Debug)]
pub(crate) struct Postings {
    kind: u8,
    hash: Hash16,
    /// The periods that are not read to their end, in the direction of reading.
    periods: VecDeque<Period>,
    newest_first: bool,
    read: VecDeque<Posting>,
    /// The last list of the current period that was read.
    list: Option<u64>,
    /// Lists that the next read brings.
    ahead: usize,
}

impl Inner {
    /// The periods of which records are kept, the oldest first.
    pub(crate) async fn periods(&self, state: &State) -> Result<Vec<Period>, AuditError> {
        let rows = self.store.latest().scan(&PERIODS, Scan::all()).await?;
        let ends = rows.iter().skip(1).map(|(_, first)| *first).chain([state.size]);
        let periods =
            rows.iter().zip(ends).map(|((period, first), end)| Period { period: *period, first: *first, end });
        Ok(periods.collect())
    }

    /// The postings of a term.
    pub(crate) fn postings(&self, periods: &[Period], term: Term<'_>, newest_first: bool) -> Postings {
        let (kind, hash) = term.key(&self.store);
        let mut periods: VecDeque<Period> = periods.iter().copied().collect();
        if newest_first {
            periods.make_contiguous().reverse();
        }
        Postings { kind, hash, periods, newest_first, read: VecDeque::new(), list: None, ahead: LISTS_AT_FIRST }
    }
}

impl Postings {
    /// The next posting at this number or behind it, in the direction of reading. Numbers only ever go on.
    pub(crate) async fn at(
        &mut self,
        inner: &Inner,
        bound: u64,
        work: &mut Work,
    ) -> Result<Option<Posting>, AuditError> {
        loop {
            while let Some(posting) = self.read.front() {
                if if self.newest_first { posting.number <= bound } else { posting.number >= bound } {
                    return Ok(Some(*posting));
                }
                self.read.pop_front();
            }
            let Some(period) = self.periods.front().copied() else { return Ok(None) };
            let over = if self.newest_first { period.first > bound } else { period.end <= bound };
            if over || !self.fill(inner, period.period, bound, work).await? {
                self.periods.pop_front();
                self.list = None;
            }
        }
    }

    /// Reads more lists of the period; whether there are any.
    async fn fill(&mut self, inner: &Inner, period: u64, bound: u64, work: &mut Work) -> Result<bool, AuditError> {
        // What is in memory is read without waiting: others have their turn here.
        tokio::task::consume_budget().await;
        let ahead = self.ahead;
        let (view, key) = (inner.store.latest(), |number: u64| (period, self.kind, self.hash, number));
        let all = Scan::prefix(&(period, self.kind, self.hash));
        let lists = if self.newest_first {
            // A list stands under its last number: the one that the bound is within comes behind it.
            let mut within = all.clone().from(&key(bound)).limit(1);
            let mut before = all.before(&key(bound)).reverse().limit(ahead);
            if let Some(list) = self.list {
                (within, before) = (within.before(&key(list)), before.before(&key(list)));
            }
            let mut lists = view.scan(&INDEX, within).await?;
            lists.extend(view.scan(&INDEX, before).await?);
            lists
        } else {
            let mut from = all.from(&key(bound)).limit(ahead);
            if let Some(list) = self.list {
                from = from.after(&key(list));
            }
            view.scan(&INDEX, from).await?
        };
        work.spend(ROW_COST * (1 + lists.len()));
        let any = !lists.is_empty();
        let postings: usize = lists.iter().map(|(_, Packed(postings))| postings.len()).sum();
        let short = postings < POSTINGS_OF_SHORT_LISTS_MAX;
        self.ahead = if short { (2 * ahead).min(LISTS_AT_ONCE_MAX) } else { LISTS_AT_FIRST };
        for ((_, _, _, last), Packed(postings)) in lists {
            self.list = Some(last);
            work.spend(postings.len());
            let postings = whole(postings).into_iter();
            match self.newest_first {
                true => self.read.extend(postings.rev()),
                false => self.read.extend(postings),
            }
        }
        Ok(any)
    }
}
