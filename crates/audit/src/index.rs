//! The index of records by user, room, act and failure.
//!
//! Its rows are lists of postings, written together with the numbers of the records. Few records are numbered at once, so lists
//! are short at first; after [`PUT_TOGETHER_AFTER`] records those of each term become one. A posting says enough of its
//! record to leave out by act, time and outcome without reading it.

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

/// Records after which their short lists are put together: what is searched for is in few rows, and none is long. Tests come
/// to it with few records.
const PUT_TOGETHER_AFTER: usize = if cfg!(test) { 16 } else { 8_192 };

/// Lists that are being made, by period and term.
#[derive(Debug, Default)]
pub(crate) struct Lists<'a> {
    records: usize,
    lists: HashMap<(u64, Term<'a>), Vec<Posting>>,
}

impl<'a> Lists<'a> {
    /// Adds a record of a period; records come in their order.
    pub(crate) fn add(&mut self, period: u64, number: u64, record: &'a Indexed<'a>) {
        let (act, outcome) = (record.act(), record.outcome);
        let posting = Posting { number, at: i64::try_from(record.at).unwrap_or(i64::MAX), act, outcome };
        for term in record.terms() {
            self.lists.entry((period, term)).or_default().push(posting);
        }
        self.records += 1;
    }

    /// Writes the lists, and puts them together with those before where there are enough.
    pub(crate) fn write(self, store: &Store, batch: &mut Batch, short: &mut ShortLists) {
        short.records += self.records;
        let together = short.records >= PUT_TOGETHER_AFTER;
        for ((period, term), postings) in self.lists {
            let (kind, hash) = term.key(store);
            let list = short.lists.entry((period, kind, hash)).or_default();
            let last = postings.last().map_or(0, |posting| posting.number);
            if !together {
                put(batch, (period, kind, hash, last), &postings);
                list.written.push(last);
            }
            list.postings.extend(postings);
        }
        if together {
            std::mem::take(short).put_together(batch);
        }
    }
}

/// The short lists that were written since they were last put together. They are kept in memory alone: those from before a start
/// of the server stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShortLists {
    records: usize,
    lists: HashMap<(u64, u8, Hash16), ShortList>,
}

#[derive(Clone, Debug, Default)]
struct ShortList {
    postings: Vec<Posting>,
    /// The last numbers of the lists in which they stand now.
    written: Vec<u64>,
}

impl ShortLists {
    fn put_together(self, batch: &mut Batch) {
        for ((period, kind, hash), list) in self.lists {
            let Some(last) = list.postings.last().map(|posting| posting.number) else { continue };
            if list.written == [last] {
                continue;
            }
            for before in list.written.into_iter().filter(|before| *before != last) {
                batch.delete(&INDEX, &(period, kind, hash, before));
            }
            put(batch, (period, kind, hash, last), &list.postings);
        }
    }
}

fn put(batch: &mut Batch, key: IndexKey, postings: &[Posting]) {
    let mut before = None::<Posting>;
    let differences = postings.iter().map(|posting| {
        let mut difference = *posting;
        if let Some(before) = before.replace(*posting) {
            difference.number -= before.number;
            difference.at = difference.at.saturating_sub(before.at);
        }
        difference
    });
    batch.put(&INDEX, &key, &Packed(differences.collect()));
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
