//! The index of records by user, room, act and failure.
//!
//! Its rows are lists of postings, each written once together with the numbers of the records: the more records are numbered
//! at once, the longer the lists. A posting says enough of its record to leave out by act, time and outcome without reading it.

use std::{collections::HashMap, hash::Hash};

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Packed, Store};

use crate::{Act, Outcome, hours::number_of, tables::INDEX};

/// Period, what it is an index of, of which one, and the number of the last record in the list.
pub(crate) type IndexKey = (u64, u8, Hash16, u64);

/// How the store hashes what is looked for.
const DOMAIN: u8 = 0xA0;

/// A record, as a list names it. In a list numbers and times stand as differences from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Posting {
    /// The number.
    pub(crate) number: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub(crate) at: i64,
    /// The number of the act; that of no act where it is unknown.
    pub(crate) act: u16,
    /// How it went.
    pub(crate) outcome: u8,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Term<'a> {
    User(&'a str),
    Room(&'a str),
    Act(u16),
    /// Of this outcome, which is none of success.
    Failed(u8),
}

impl Term<'_> {
    /// The first parts of its keys.
    pub(crate) fn key(self, store: &Store) -> (u8, Hash16) {
        let plain = |number: u16| {
            let mut hash = [0; 16];
            hash[..2].copy_from_slice(&number.to_be_bytes());
            hash
        };
        match self {
            Self::User(user) => (1, store.keyed_hash(DOMAIN, user.as_bytes())),
            Self::Room(room) => (2, store.keyed_hash(DOMAIN, room.as_bytes())),
            Self::Act(number) => (3, plain(number)),
            Self::Failed(outcome) => (4, plain(outcome.into())),
        }
    }
}

/// What the index needs of a record; the rest is not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Indexed<'a> {
    act: std::borrow::Cow<'a, str>,
    pub(crate) at: u64,
    #[serde(borrow)]
    on: On<'a>,
    outcome: u8,
    #[serde(borrow)]
    who: Who<'a>,
}

#[derive(Debug, Deserialize)]
struct On<'a> {
    #[serde(borrow, default)]
    room: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct Who<'a> {
    #[serde(rename = "as", borrow, default)]
    on_behalf_of: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<std::borrow::Cow<'a, str>>,
}

impl Indexed<'_> {
    /// The number of the act; an act of a later version has none.
    pub(crate) fn act(&self) -> u16 {
        Act::of_word(&self.act).map_or(u16::MAX, number_of)
    }

    fn terms(&self) -> impl Iterator<Item = Term<'_>> {
        let users = [&self.who.user, &self.who.on_behalf_of, &self.on.user].map(Option::as_deref);
        let once = |at: usize| users[at].filter(|user| !users[..at].contains(&Some(*user)));
        let users = [once(0), once(1), once(2)].map(|user| user.map(Term::User));
        let room = self.on.room.as_deref().map(Term::Room);
        let failed = (self.outcome != u8::from(Outcome::Success)).then_some(Term::Failed(self.outcome));
        users.into_iter().chain([room, failed, Some(Term::Act(self.act()))]).flatten()
    }
}

/// Lists that are being made, by period and term.
#[derive(Debug, Default)]
pub(crate) struct Lists<'a>(HashMap<(u64, Term<'a>), Vec<Posting>>);

impl<'a> Lists<'a> {
    /// Adds a record of a period; records come in their order.
    pub(crate) fn add(&mut self, period: u64, number: u64, record: &'a Indexed<'a>) {
        let (act, outcome) = (record.act(), record.outcome);
        let posting = Posting { number, at: i64::try_from(record.at).unwrap_or(i64::MAX), act, outcome };
        for term in record.terms() {
            self.0.entry((period, term)).or_default().push(posting);
        }
    }

    /// Writes the lists.
    pub(crate) fn write(self, store: &Store, batch: &mut Batch) {
        for ((period, term), mut postings) in self.0 {
            let (kind, hash) = term.key(store);
            let last = postings.last().map_or(0, |posting| posting.number);
            for at in (1..postings.len()).rev() {
                let before = postings[at - 1];
                postings[at].number -= before.number;
                postings[at].at = postings[at].at.saturating_sub(before.at);
            }
            batch.put(&INDEX, &(period, kind, hash, last), &Packed(postings));
        }
    }
}

/// The postings of a list, with whole numbers and times.
pub(crate) fn whole(mut postings: Vec<Posting>) -> Vec<Posting> {
    for at in 1..postings.len() {
        let before = postings[at - 1];
        postings[at].number = postings[at].number.saturating_add(before.number);
        postings[at].at = postings[at].at.saturating_add(before.at);
    }
    postings
}
