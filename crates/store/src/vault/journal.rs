//! The shred journal: which keys were destroyed, in a file that only grows, so that an older copy of the keys can be
//! brought up to it.
//!
//! ```text
//! magic 8 | store id 16 | through u64 | kept u64 | MAC 16
//! 1 | at u64 | kind u8 | a u64 | from u64 | to u64 | before u32 | MAC 16      keys were destroyed
//! 2 | at u64 | nonce 16 | zeros 13 | MAC 16                                  a milestone
//! ```
//!
//! Integers are big-endian. Each MAC is HMAC-SHA256, truncated, under a key derived from the master key, over the MAC
//! before it and the record: nobody without the master key can change, add, reorder or leave out records before the
//! last one. What a crash left unfinished at the end is cut off when the file is opened: it was not acknowledged.
//!
//! A record says "every key of these scopes with an id below `before`". So records may be told again, to a younger or
//! older state of the keys, without touching keys that were made later. The file is rewritten when it has grown: ranges
//! that follow each other become one, so that it holds about one record per room. `through` counts the destructions
//! that the first `kept` records then stand for.
//!
//! Milestones are random numbers, written before the first record of each run, and with each copy of the keys. A journal
//! continues another one if it has its last milestone: two lives of one store that parted, as after a restore, do not.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{hmac, rand};

const MAGIC: [u8; 8] = *b"WRSHRED1";
const MAC_BYTES: usize = 16;
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + MAC_BYTES;
const BODY_BYTES: usize = 1 + 8 + 1 + 8 + 8 + 8 + 4;
const RECORD_BYTES: usize = BODY_BYTES + MAC_BYTES;
const DESTROYED: u8 = 1;
const MILESTONE: u8 = 2;
/// The journal is rewritten when it has grown by so many records, and to three times what it was.
const REWRITE_RECORDS_MIN: u64 = 16_384;

type Mac = [u8; MAC_BYTES];

/// A random number that marks a point in the life of a store.
pub(crate) type Milestone = [u8; 16];

/// Scopes of one kind and first coordinate, by their second one.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) struct ScopeRange {
    pub(crate) kind: u8,
    pub(crate) a: u64,
    pub(crate) from: u64,
    /// The last one.
    pub(crate) to: u64,
}

/// Every key of these scopes with an id below `before` was destroyed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Destroyed {
    pub(crate) at_unix_seconds: u64,
    pub(crate) scopes: ScopeRange,
    pub(crate) before: u32,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Altered, cut off, or of another master key.
    #[error("a journal beside the keys is damaged, or belongs to another master key")]
    Corrupt,
}

impl From<JournalFault> for crate::CommitError {
    fn from(fault: JournalFault) -> Self {
        match fault {
            JournalFault::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::DiskFull,
            fault => Self::Engine(fault.to_string().into()),
        }
    }
}

/// What a journal says.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) store_id: [u8; 16],
    pub(crate) milestones: Vec<Milestone>,
    /// Each with how many destructions there were when it was written.
    pub(crate) destroyed: Vec<(u64, Destroyed)>,
    /// Destructions ever.
    pub(crate) count: u64,
    kept: u64,
    records: u64,
    head: Mac,
}

impl Contents {
    /// Reads a journal, up to where it is not whole.
    pub(crate) fn read(path: &Path, key: &hmac::Key) -> Result<Self, JournalFault> {
        let bytes = fs::read(path)?;
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(JournalFault::Corrupt)?;
        let (fields, mac) = header.split_at(HEADER_BYTES - MAC_BYTES);
        let head = chained(key, &[0; MAC_BYTES], fields);
        if header[..8] != MAGIC || head != mac {
            return Err(JournalFault::Corrupt);
        }
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&header[8..24]);
        let (count, kept) = (number(&header[24..32]), number(&header[32..40]));
        let (milestones, destroyed) = (Vec::new(), Vec::new());
        let mut read = Self { store_id, milestones, destroyed, count, kept, records: 0, head };
        while let Some((record, more)) = rest.split_first_chunk::<RECORD_BYTES>() {
            let (body, mac) = record.split_at(BODY_BYTES);
            let head = chained(key, &read.head, body);
            if head != mac {
                break;
            }
            read.take(body)?;
            read.head = head;
            rest = more;
        }
        if read.records < kept { Err(JournalFault::Corrupt) } else { Ok(read) }
    }

    fn take(&mut self, body: &[u8]) -> Result<(), JournalFault> {
        self.records += 1;
        match body[0] {
            DESTROYED => {
                let mut before = [0; 4];
                before.copy_from_slice(&body[34..38]);
                let scopes = ScopeRange {
                    kind: body[9],
                    a: number(&body[10..18]),
                    from: number(&body[18..26]),
                    to: number(&body[26..34]),
                };
                self.count += u64::from(self.records > self.kept);
                let at_unix_seconds = number(&body[1..9]);
                let destroyed = Destroyed { at_unix_seconds, scopes, before: u32::from_be_bytes(before) };
                self.destroyed.push((self.count, destroyed));
            }
            MILESTONE => {
                let mut nonce = Milestone::default();
                nonce.copy_from_slice(&body[9..25]);
                self.milestones.push(nonce);
            }
            _ => return Err(JournalFault::Corrupt),
        }
        Ok(())
    }

    /// Whether this journal goes on where the other one ends.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        let known = other.milestones.last().is_some_and(|last| self.milestones.contains(last));
        self.store_id == other.store_id && known && self.count >= other.count
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    key: hmac::Key,
    store_id: [u8; 16],
    head: Mac,
    /// Destructions ever.
    count: u64,
    records: u64,
    kept: u64,
    /// Whether this run has its milestone.
    marked: bool,
    /// An unfinished record could not be taken back.
    broken: bool,
}

impl Journal {
    /// A new journal, instead of one that may be there.
    pub(crate) fn create(path: &Path, key: hmac::Key, store_id: [u8; 16], now: u64) -> io::Result<Self> {
        let first = milestone_body(now)?;
        let (head, file) = written(path, &key, &header(store_id, 0, 1), &[first])?;
        let path = path.to_owned();
        Ok(Self { path, file, key, store_id, head, count: 0, records: 1, kept: 1, marked: true, broken: false })
    }

    /// Opens what [`Contents::read`] has read, and cuts off what is not whole.
    pub(crate) fn open(path: &Path, key: hmac::Key, read: &Contents) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        let journal = Self {
            path: path.to_owned(),
            file,
            key,
            store_id: read.store_id,
            head: read.head,
            count: read.count,
            records: read.records,
            kept: read.kept,
            marked: false,
            broken: false,
        };
        if journal.file.metadata()?.len() != journal.bytes() {
            journal.file.set_len(journal.bytes())?;
            journal.file.sync_all()?;
        }
        Ok(journal)
    }

    fn bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.records * RECORD_BYTES as u64
    }

    /// Destructions ever.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Notes destructions, durably. On failure none is noted.
    pub(crate) fn note(&mut self, destroyed: &[Destroyed], now: u64) -> io::Result<()> {
        let mut bodies = Vec::with_capacity(destroyed.len() + 1);
        if !self.marked {
            bodies.push(milestone_body(now)?);
        }
        bodies.extend(destroyed.iter().map(destroyed_body));
        self.append(&bodies)?;
        self.marked = true;
        self.count += destroyed.len() as u64;
        Ok(())
    }

    /// Writes a milestone, durably.
    pub(crate) fn milestone(&mut self, now: u64) -> io::Result<()> {
        self.append(&[milestone_body(now)?])
    }

    fn append(&mut self, bodies: &[[u8; BODY_BYTES]]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the shred journal failed before; a restart reads it again"));
        }
        let (bytes, head) = records(&self.key, self.head, bodies);
        let appended = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = appended {
            let taken_back = self.file.set_len(self.bytes()).and_then(|()| self.file.sync_all());
            self.broken = taken_back.is_err();
            return Err(error);
        }
        self.head = head;
        self.records += bodies.len() as u64;
        Ok(())
    }

    /// Whether it pays to rewrite the journal.
    pub(crate) fn has_grown(&self) -> bool {
        self.records - self.kept > REWRITE_RECORDS_MIN.max(2 * self.kept)
    }

    /// Rewrites the journal with fewer records that say the same. `lives` tells whether a key of these scopes with an id
    /// below the number is there: over such a one nothing is merged.
    pub(crate) fn rewrite<E: From<io::Error> + From<JournalFault>>(
        &mut self,
        lives: impl FnMut(ScopeRange, u32) -> Result<bool, E>,
    ) -> Result<(), E> {
        let read = Contents::read(&self.path, &self.key)?;
        if read.head != self.head {
            return Err(JournalFault::Corrupt.into());
        }
        let merged = merge(read.destroyed.into_iter().map(|(_, destroyed)| destroyed).collect(), lives)?;
        let mut bodies: Vec<_> = read.milestones.iter().map(|nonce| body_of_milestone(0, nonce)).collect();
        bodies.extend(merged.iter().map(destroyed_body));
        let kept = bodies.len() as u64;
        let (head, file) = written(&self.path, &self.key, &header(self.store_id, self.count, kept), &bodies)?;
        (self.head, self.file, self.records, self.kept) = (head, file, kept, kept);
        Ok(())
    }

    /// Copies the journal as it is now.
    pub(crate) fn copy(&self, to: &Path) -> io::Result<()> {
        fs::copy(&self.path, to)?;
        File::open(to)?.sync_all()
    }
}

/// Ranges that follow each other, where no key that lives lies in between, become one.
fn merge<E>(
    mut destroyed: Vec<Destroyed>,
    mut lives: impl FnMut(ScopeRange, u32) -> Result<bool, E>,
) -> Result<Vec<Destroyed>, E> {
    destroyed.sort_by_key(|destroyed| destroyed.scopes);
    let mut merged: Vec<Destroyed> = Vec::new();
    for next in destroyed {
        if let Some(last) = merged.last_mut()
            && (last.scopes.kind, last.scopes.a) == (next.scopes.kind, next.scopes.a)
        {
            let scopes = ScopeRange { to: last.scopes.to.max(next.scopes.to), ..last.scopes };
            let before = last.before.max(next.before);
            if !lives(scopes, before)? {
                let at_unix_seconds = last.at_unix_seconds.max(next.at_unix_seconds);
                *last = Destroyed { at_unix_seconds, scopes, before };
                continue;
            }
        }
        merged.push(next);
    }
    Ok(merged)
}

fn header(store_id: [u8; 16], through: u64, kept: u64) -> Vec<u8> {
    [&MAGIC[..], &store_id, &through.to_be_bytes(), &kept.to_be_bytes()].concat()
}

/// Writes a whole journal in place of the one that is there, which stays until the new one is durable.
fn written(path: &Path, key: &hmac::Key, header: &[u8], bodies: &[[u8; BODY_BYTES]]) -> io::Result<(Mac, File)> {
    let head = chained(key, &[0; MAC_BYTES], header);
    let (bytes, last) = records(key, head, bodies);
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&[header, &head, &bytes].concat())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok((last, OpenOptions::new().append(true).open(path)?))
}

/// Records with their MACs, and the last of these.
fn records(key: &hmac::Key, mut head: Mac, bodies: &[[u8; BODY_BYTES]]) -> (Vec<u8>, Mac) {
    let mut bytes = Vec::with_capacity(bodies.len() * RECORD_BYTES);
    for body in bodies {
        head = chained(key, &head, body);
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&head);
    }
    (bytes, head)
}

fn chained(key: &hmac::Key, before: &Mac, record: &[u8]) -> Mac {
    let mut context = hmac::Context::with_key(key);
    context.update(before);
    context.update(record);
    let mut mac = Mac::default();
    mac.copy_from_slice(&context.sign().as_ref()[..MAC_BYTES]);
    mac
}

fn destroyed_body(destroyed: &Destroyed) -> [u8; BODY_BYTES] {
    let Destroyed { at_unix_seconds, scopes, before } = destroyed;
    let mut body = [0; BODY_BYTES];
    body[0] = DESTROYED;
    body[1..9].copy_from_slice(&at_unix_seconds.to_be_bytes());
    body[9] = scopes.kind;
    body[10..18].copy_from_slice(&scopes.a.to_be_bytes());
    body[18..26].copy_from_slice(&scopes.from.to_be_bytes());
    body[26..34].copy_from_slice(&scopes.to.to_be_bytes());
    body[34..].copy_from_slice(&before.to_be_bytes());
    body
}

fn milestone_body(now: u64) -> io::Result<[u8; BODY_BYTES]> {
    let mut nonce = Milestone::default();
    rand::fill(&mut nonce).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(body_of_milestone(now, &nonce))
}

fn body_of_milestone(at_unix_seconds: u64, nonce: &Milestone) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    body[0] = MILESTONE;
    body[1..9].copy_from_slice(&at_unix_seconds.to_be_bytes());
    body[9..25].copy_from_slice(nonce);
    body
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
    }

    fn range(a: u64, from: u64, to: u64) -> ScopeRange {
        ScopeRange { kind: 1, a, from, to }
    }

    fn destroyed(a: u64, from: u64, to: u64, before: u32) -> Destroyed {
        Destroyed { at_unix_seconds: 5, scopes: range(a, from, to), before }
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("journal")
        }

        fn read(&self) -> Result<Contents, JournalFault> {
            Contents::read(&self.path(), &key())
        }

        fn said(&self) -> Vec<(u64, Destroyed)> {
            self.read().unwrap().destroyed
        }
    }

    #[test]
    fn what_was_noted_is_read_again() {
        let place = Place::new();
        let mut journal = Journal::create(&place.path(), key(), [3; 16], 1).unwrap();
        journal.note(&[destroyed(1, 2, 2, 9), destroyed(1, 4, 4, 9)], 1).unwrap();
        let read = place.read().unwrap();
        assert_eq!((read.store_id, read.count, read.milestones.len()), ([3; 16], 2, 1));
        let mut journal = Journal::open(&place.path(), key(), &read).unwrap();
        journal.note(&[destroyed(2, 0, u64::MAX, 11)], 2).unwrap();
        journal.note(&[destroyed(3, 0, 0, 12)], 2).unwrap();
        assert_eq!(journal.count(), 4);
        let after = place.read().unwrap();
        assert_eq!(after.milestones.len(), 2, "one for each run");
        let said: Vec<_> = after.destroyed.iter().map(|(count, destroyed)| (*count, destroyed.before)).collect();
        assert_eq!(said, [(1, 9), (2, 9), (3, 11), (4, 12)]);
        assert!(after.continues(&read) && !read.continues(&after));
    }

    #[test]
    fn an_unfinished_end_is_cut_off_and_anything_else_is_refused() {
        let place = Place::new();
        let mut journal = Journal::create(&place.path(), key(), [3; 16], 1).unwrap();
        let entries: Vec<_> = (0..4).map(|n| destroyed(n, n, n, 9)).collect();
        journal.note(&entries, 1).unwrap();
        let whole = fs::read(place.path()).unwrap();
        for length in HEADER_BYTES + RECORD_BYTES..whole.len() {
            fs::write(place.path(), &whole[..length]).unwrap();
            let read = place.read().unwrap();
            assert_eq!(read.destroyed.len(), (length - HEADER_BYTES) / RECORD_BYTES - 1);
            let mut journal = Journal::open(&place.path(), key(), &read).unwrap();
            journal.note(&[destroyed(9, 9, 9, 99)], 1).unwrap();
            assert_eq!(place.said().last().unwrap().1, destroyed(9, 9, 9, 99));
        }
        for length in 0..HEADER_BYTES + RECORD_BYTES {
            fs::write(place.path(), &whole[..length]).unwrap();
            assert!(matches!(place.read(), Err(JournalFault::Corrupt)), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            fs::write(place.path(), &altered).unwrap();
            // All that stands before the place still counts, nothing behind it does.
            let expected = at.checked_sub(HEADER_BYTES).map_or(0, |at| at / RECORD_BYTES);
            match place.read() {
                Ok(read) => assert_eq!(read.destroyed.len() + 1, expected, "byte {at}"),
                Err(_) => assert_eq!(expected, 0, "byte {at}"),
            }
        }
        fs::write(place.path(), &whole).unwrap();
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        assert!(matches!(Contents::read(&place.path(), &other), Err(JournalFault::Corrupt)));
    }

    #[test]
    fn lives_that_parted_do_not_continue_each_other() {
        let (one, two) = (Place::new(), Place::new());
        let mut journal = Journal::create(&one.path(), key(), [3; 16], 1).unwrap();
        journal.note(&[destroyed(1, 1, 1, 9)], 1).unwrap();
        journal.copy(&two.path()).unwrap();
        let (common, mut other) = {
            let read = two.read().unwrap();
            let journal = Journal::open(&two.path(), key(), &read).unwrap();
            (read, journal)
        };
        other.note(&[destroyed(2, 2, 2, 10)], 1).unwrap();
        journal.note(&[destroyed(3, 3, 3, 10), destroyed(3, 4, 4, 10)], 1).unwrap();
        let (one, two) = (one.read().unwrap(), two.read().unwrap());
        assert!(one.continues(&common) && two.continues(&common));
        assert!(!one.continues(&two) && !two.continues(&one));
    }

    #[test]
    fn a_rewritten_journal_is_short_and_says_the_same() {
        let place = Place::new();
        let mut journal = Journal::create(&place.path(), key(), [3; 16], 1).unwrap();
        let days: Vec<_> = (0..1_000).zip(5..).map(|(day, id)| destroyed(7, 20_000 + day, 20_000 + day, id)).collect();
        journal.note(&days, 1).unwrap();
        journal.note(&[destroyed(8, 3, 3, 2_000)], 1).unwrap();
        let before = place.read().unwrap();
        // A key of day 20,500 lives: it was made anew after its day was destroyed.
        let lives = |scopes: ScopeRange, below: u32| -> Result<bool, JournalFault> {
            Ok(scopes.a == 7 && (scopes.from..=scopes.to).contains(&20_500) && below > 700)
        };
        journal.rewrite(lives).unwrap();
        let after = place.read().unwrap();
        assert_eq!((after.count, after.milestones.clone()), (1_001, before.milestones.clone()));
        let said: Vec<_> = after.destroyed.iter().map(|(_, destroyed)| destroyed).collect();
        assert!(said.len() < 400, "{}", said.len());
        assert!(after.continues(&before));
        for day in &days {
            let told = said.iter().any(|destroyed| {
                destroyed.scopes.a == 7
                    && (destroyed.scopes.from..=destroyed.scopes.to).contains(&day.scopes.from)
                    && destroyed.before >= day.before
            });
            assert!(told, "{day:?}");
        }
        journal.note(&[destroyed(7, 0, u64::MAX, 3_000)], 1).unwrap();
        journal.rewrite(|_, _| Ok::<_, JournalFault>(false)).unwrap();
        let last = place.said();
        assert_eq!(last.len(), 2, "a deleted room has one record: {last:?}");
        assert_eq!(last[0].1, Destroyed { at_unix_seconds: 5, scopes: range(7, 0, u64::MAX), before: 3_000 });
        assert_eq!(journal.count(), 1_002);
        assert!(place.read().unwrap().continues(&after));
    }

    proptest! {
        #[test]
        fn merging_loses_nothing_and_spares_what_lives(
            ranges in prop::collection::vec((0_u64..3, 0_u64..12, 0_u64..4, 1_u32..20), 0..20),
            living in prop::collection::vec((0_u64..3, 0_u64..16, 0_u32..25), 0..6),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|(a, from, more, id)| destroyed(*a, *from, from + more, *id)).collect();
            let covers = |list: &[Destroyed], a: u64, b: u64, id: u32| list.iter().any(|destroyed| {
                destroyed.scopes.a == a && (destroyed.scopes.from..=destroyed.scopes.to).contains(&b) && id < destroyed.before
            });
            // What lives was not destroyed.
            let living: Vec<_> = living.into_iter().filter(|(a, b, id)| !covers(&ranges, *a, *b, *id)).collect();
            let lives = |scopes: ScopeRange, before: u32| Ok::<_, JournalFault>(living.iter().any(|(a, b, id)| {
                *a == scopes.a && (scopes.from..=scopes.to).contains(b) && *id < before
            }));
            let merged = merge(ranges.clone(), lives).unwrap();
            prop_assert!(merged.len() <= ranges.len());
            for (a, b, id) in (0..3).flat_map(|a| (0..16).flat_map(move |b| (0..25).map(move |id| (a, b, id)))) {
                prop_assert!(!covers(&ranges, a, b, id) || covers(&merged, a, b, id));
            }
            for (a, b, id) in living {
                prop_assert!(!covers(&merged, a, b, id));
            }
        }
    }
}
