//! How much was done when, for charts.

use std::collections::BTreeMap;

use wardroom_store::{Packed, Scan};

use crate::{
    Act, AuditLog,
    error::AuditError,
    hours::{HOUR_MS, act_of, hour_of},
    index::Term,
    log::Inner,
    postings::Work,
    sequence::State,
    tables::HOURS,
};

/// Most buckets of an answer.
pub const BUCKETS_MAX: u64 = 1_000;
/// What one answer reads of the index at most, in postings.
const WORK_MAX: usize = 5_000_000;
/// Hours that are read at once.
const HOURS_AT_ONCE: usize = 1_000;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

/// Which time is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From this time on, in milliseconds since 1970.
    pub from_ms: u64,
    /// Before this time.
    pub before_ms: u64,
    /// In steps of this length.
    pub step: Step,
}

/// What was done in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many records there are of each act.
    pub acts: BTreeMap<Act, u64>,
    /// How many there are.
    pub total: u64,
}

/// What was done, by when the step begins (milliseconds since 1970); steps without records are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// The steps.
    pub buckets: BTreeMap<u64, Bucket>,
    /// Whether there was more than is counted here: what is asked for is too much.
    pub cut: bool,
}

impl Step {
    /// Its length in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => 24 * HOUR_MS,
        }
    }
}

impl Span {
    /// How many steps there are.
    pub const fn steps(&self) -> u64 {
        self.before_ms.div_ceil(self.step.ms()).saturating_sub(self.from_ms / self.step.ms())
    }
}

impl Activity {
    fn count(&mut self, span: &Span, at_ms: u64, act: u16, count: u64) {
        let step = span.step.ms();
        let bucket = self.buckets.entry(at_ms / step * step).or_default();
        bucket.total += count;
        if let Some(act) = act_of(act) {
            *bucket.acts.entry(act).or_default() += count;
        }
    }
}

impl AuditLog {
    /// How much was done in each step of a time, by and to whoever or by and to one user, wherever or in one room. For all users
    /// and rooms whole hours are counted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn activity(&self, span: Span, user: Option<&str>, room: Option<&str>) -> Result<Activity, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Activity::default()) };
        let state = inner.catch_up().await?;
        let terms: Vec<Term<'_>> = user.map(Term::User).into_iter().chain(room.map(Term::Room)).collect();
        match terms.as_slice() {
            [] => inner.hourly(span).await,
            terms => inner.counted(span, &state, terms).await,
        }
    }
}

impl Inner {
    async fn hourly(&self, span: Span) -> Result<Activity, AuditError> {
        let (mut from, end) = (hour_of(span.from_ms), hour_of(span.before_ms.saturating_add(HOUR_MS - 1)));
        let mut activity = Activity::default();
        while from < end {
            let scan = Scan::range(&from, &end).limit(HOURS_AT_ONCE);
            let hours = self.store.latest().scan(&HOURS, scan).await?;
            let Some((last, _)) = hours.last() else { break };
            from = last.saturating_add(1);
            for (hour, Packed(row)) in &hours {
                let at_ms = u64::from(*hour) * HOUR_MS;
                row.counts.iter().for_each(|(act, count)| activity.count(&span, at_ms, *act, u64::from(*count)));
            }
        }
        Ok(activity)
    }

    async fn counted(&self, span: Span, state: &State, terms: &[Term<'_>]) -> Result<Activity, AuditError> {
        let (first, end) = self.numbers_between(state, Some(span.from_ms), Some(span.before_ms)).await?;
        let periods = self.periods(state).await?;
        let mut lists: Vec<_> = terms.iter().map(|term| self.postings(&periods, *term, false)).collect();
        let (mut bound, mut work, mut activity) = (first, Work(WORK_MAX), Activity::default());
        'all: while bound < end {
            let mut met = None;
            for list in &mut lists {
                let Some(posting) = list.at(self, bound, &mut work).await? else { break 'all };
                if posting.number >= end {
                    break 'all;
                }
                if posting.number > bound {
                    bound = posting.number;
                    // The lists before this one have to come here too.
                    met = (lists.len() == 1).then_some(posting);
                    break;
                }
                met = Some(posting);
            }
            if work.is_over() {
                activity.cut = true;
                break;
            }
            let Some(posting) = met else { continue };
            let at_ms = u64::try_from(posting.at).unwrap_or_default();
            if (span.from_ms..span.before_ms).contains(&at_ms) {
                activity.count(&span, at_ms, posting.act, 1);
            }
            bound += 1;
        }
        Ok(activity)
    }
}
