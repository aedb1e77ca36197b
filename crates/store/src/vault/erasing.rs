//! Destroying keys, in steps that a crash can part.

use super::{Contents, Journal, JournalFault, SCOPED_KEY_ID_MIN, ScopeRange, State, Vault, journal::Destroyed};
use crate::{
    Batch, CommitError, Scope,
    engine::Fault,
    internal::{ERASED, KEYS, SCOPES},
    keyring::Unread,
};

/// Keys whose ids lie closer than this are taken out of the files together.
const IDS_APART: u32 = 4_096;
/// Stretches of the files that are rewritten one by one; where there are more, all between the first and the last is, once.
const RANGES_MAX: usize = 16;
/// Rows that are deleted in one write.
const DELETIONS_AT_ONCE: usize = 10_000;

/// Keys that were deleted, and up to which destruction of the journal that carries it out.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) ids: Vec<u32>,
    pub(super) through: u64,
}

/// Why a destruction failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Journal(#[from] JournalFault),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the keys cannot be read")]
    Unread(Unread),
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unread(unread) => unread.into(),
            Failure::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            other => Self::Engine(format!("the shred journal: {other}").into()),
        }
    }
}

impl Vault {
    /// Notes that every key of these ranges is destroyed. From here on that is so, whatever fails.
    pub(crate) fn note(&self, ranges: &[ScopeRange]) -> Result<(), CommitError> {
        let (now, before) = (self.now_unix_seconds(), self.next_id());
        let noted: Vec<_> =
            ranges.iter().map(|scopes| Destroyed { at_unix_seconds: now, scopes: *scopes, before }).collect();
        match &mut self.state.lock().journal {
            Some(journal) => Ok(journal.note(&noted, now).map_err(Failure::from)?),
            None => Ok(()),
        }
    }

    /// Deletes the rows of keys whose destruction was noted.
    pub(crate) fn delete(&self, keys: &[(Scope, u32)]) -> Result<(), CommitError> {
        let state = &mut *self.state.lock();
        state.undeleted.extend_from_slice(keys);
        for page in state.undeleted.chunks(DELETIONS_AT_ONCE) {
            self.delete_rows(page)?;
        }
        let ids = std::mem::take(&mut state.undeleted).into_iter().map(|(_, id)| id).collect();
        let through = state.journal.as_ref().map_or(0, Journal::count);
        state.unerased.push(Erasure { ids, through });
        Ok(())
    }

    fn delete_rows(&self, keys: &[(Scope, u32)]) -> Result<(), CommitError> {
        let mut batch = Batch::default();
        for (scope, id) in keys {
            batch.delete(&SCOPES, scope);
            batch.delete(&KEYS, id);
        }
        self.write(batch)
    }

    /// Takes what was deleted out of the files, and says so in the vault.
    pub(crate) fn erase(&self) -> Result<(), CommitError> {
        let _files = self.files.lock();
        self.erase_deleted()
    }

    /// As [`Self::erase`], by who holds the files.
    pub(super) fn erase_deleted(&self) -> Result<(), CommitError> {
        let unerased = std::mem::take(&mut self.state.lock().unerased);
        let Some(through) = unerased.iter().map(|erasure| erasure.through).max() else { return Ok(()) };
        let ids = unerased.iter().flat_map(|erasure| erasure.ids.iter().copied()).collect();
        let erased = self.purge(&ranges_of(ids)).and_then(|()| self.set_erased(through));
        let state = &mut *self.state.lock();
        if let Err(error) = erased {
            // What was deleted meanwhile stands behind.
            state.unerased.splice(0..0, unerased);
            return Err(error);
        }
        self.shorten(state)
    }

    /// Takes out of the files whatever was deleted.
    fn purge(&self, ranges: &[(u32, u32)]) -> Result<(), CommitError> {
        let bound = |id: &u32| KEYS.row_key(id);
        let ranges: Vec<_> = ranges.iter().map(|(first, behind)| (bound(first), bound(behind))).collect();
        Ok(self.engine.purge(KEYS.spec().profile, &ranges)?)
    }

    fn set_erased(&self, through: u64) -> Result<(), CommitError> {
        let mut batch = Batch::default();
        batch.put(&ERASED, &(), &through);
        self.write(batch)
    }

    /// Rewrites the journal if it has grown, and is carried out.
    fn shorten(&self, state: &mut State) -> Result<(), CommitError> {
        if !state.undeleted.is_empty() || !state.unerased.is_empty() {
            return Ok(());
        }
        match &mut state.journal {
            Some(journal) if journal.has_grown() => Ok(journal.rewrite(|scopes, before| self.lives(scopes, before))?),
            _ => Ok(()),
        }
    }

    /// Whether one of these scopes has a key with an id below `before`.
    fn lives(&self, scopes: ScopeRange, before: u32) -> Result<bool, Failure> {
        Ok(self.living(scopes)?.iter().any(|(_, id)| *id < before))
    }

    /// Carries out what a journal says, but for what was carried out before.
    pub(super) fn carry_out(&self, read: &Contents, erased: u64) -> Result<(), CommitError> {
        let mut any = false;
        for (_, destroyed) in read.destroyed.iter().filter(|(count, _)| *count > erased) {
            any = true;
            let dead: Vec<_> =
                self.living(destroyed.scopes)?.into_iter().filter(|(_, id)| *id < destroyed.before).collect();
            for page in dead.chunks(DELETIONS_AT_ONCE) {
                self.delete_rows(page)?;
            }
        }
        if any {
            // Some may have been deleted before the crash, nobody knows which.
            self.purge(&[(SCOPED_KEY_ID_MIN, u32::MAX)])?;
            self.set_erased(read.count)?;
        }
        Ok(())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Unread(fault.into())
    }
}

/// Ranges that hold these ids, each with the first one behind it.
fn ranges_of(mut ids: Vec<u32>) -> Vec<(u32, u32)> {
    ids.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, behind)) if id < behind.saturating_add(IDS_APART) => *behind = id.saturating_add(1),
            _ => ranges.push((id, id.saturating_add(1))),
        }
    }
    match (ranges.first(), ranges.last()) {
        (Some((first, _)), Some((_, behind))) if ranges.len() > RANGES_MAX => vec![(*first, *behind)],
        _ => ranges,
    }
}

/// Scopes as ranges: of one kind and first coordinate, those that follow each other.
pub(crate) fn ranges_of_scopes(scopes: &[Scope]) -> Vec<ScopeRange> {
    let mut scopes: Vec<_> = scopes.iter().map(|scope| (scope.kind, scope.a, scope.b)).collect();
    scopes.sort_unstable();
    let mut ranges: Vec<ScopeRange> = Vec::new();
    for (kind, a, b) in scopes {
        match ranges.last_mut() {
            Some(last) if (last.kind, last.a) == (kind, a) && b <= last.to.saturating_add(1) => last.to = b,
            _ => ranges.push(ScopeRange { kind, a, from: b, to: b }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{MasterKey, vault::VaultPlace};

    fn day(day: u64) -> Scope {
        Scope { kind: 1, a: 2, b: day }
    }

    #[test]
    fn ids_and_scopes_become_ranges() {
        assert_eq!(ranges_of(vec![7, 5, 20_000, 4_101]), [(5, 4_102), (20_000, 20_001)]);
        assert_eq!(ranges_of(vec![u32::MAX]), [(u32::MAX, u32::MAX)]);
        let scattered = |count: u32| ranges_of((0..count).map(|number| number * 10_000).collect());
        assert_eq!(scattered(16).len(), 16);
        assert_eq!(scattered(17), [(0, 160_001)]);
        let range = |from, to| ScopeRange { kind: 1, a: 2, from, to };
        assert_eq!(ranges_of_scopes(&[day(4), day(2), day(3), day(3), day(9)]), [range(2, 4), range(9, 9)]);
    }

    fn holds(dir: &Path, needle: &[u8]) -> bool {
        std::fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            path.is_dir() && holds(&path, needle)
                || path.is_file() && std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle)
        })
    }

    /// The steps of a destruction, each as the last one before a crash.
    #[tokio::test]
    async fn a_destruction_that_was_noted_is_carried_out_after_a_crash() {
        for steps in 1..=4 {
            let (dir, master) = (tempfile::tempdir().unwrap(), MasterKey::generate());
            let dir = dir.path().join("keys");
            let place = VaultPlace { dir: Some(&dir), master: &master, now_unix_seconds: 5 };
            let vault = std::sync::Arc::new(place.make().unwrap());
            let store_id = vault.store_id();
            for number in 0..3 {
                vault.make(day(number)).await.unwrap();
            }
            let range = ScopeRange { kind: 1, a: 2, from: 1, to: 1 };
            let keys = vault.living(range).unwrap();
            let (profile, id) = (KEYS.spec().profile, keys[0].1);
            let wrapped = vault.engine.get(profile, &KEYS.row_key(&id), crate::engine::Reach::Disk).unwrap().unwrap();
            let secret = &wrapped[30..];
            assert!(holds(&dir, secret));

            vault.note(&[range]).unwrap();
            if steps >= 2 {
                vault.delete(&keys).unwrap();
            }
            if steps == 3 {
                vault.purge(&[(id, id + 1)]).unwrap();
            }
            if steps == 4 {
                vault.erase().unwrap();
            }
            assert_eq!(holds(&dir, secret), steps < 3, "{steps} steps");
            drop(vault);

            let vault = place.open(store_id).unwrap();
            assert!(!holds(&dir, secret), "{steps} steps");
            assert!(vault.living(range).unwrap().is_empty());
            assert_eq!(vault.key(id, crate::engine::Reach::Disk).unwrap_err(), Unread::Shredded);
            assert_eq!(vault.living(ScopeRange { from: 0, to: 9, ..range }).unwrap().len(), 2);
            drop(vault);
            place.open(store_id).unwrap();
        }
    }

    #[test]
    fn a_journal_that_has_grown_is_shortened() {
        let (dir, master) = (tempfile::tempdir().unwrap(), MasterKey::generate());
        let place = VaultPlace { dir: Some(&dir.path().join("keys")), master: &master, now_unix_seconds: 5 };
        let vault = place.make().unwrap();
        let of_day = |day| ScopeRange { kind: 1, a: 2, from: day, to: day };
        vault.note(&(0..20_000).map(of_day).collect::<Vec<_>>()).unwrap();
        vault.delete(&[]).unwrap();
        vault.erase().unwrap();
        let length = std::fs::metadata(dir.path().join("keys/shred.journal")).unwrap().len();
        assert!(length < 1_000, "{length} bytes");
        let store_id = vault.store_id();
        drop(vault);
        let vault = place.open(store_id).unwrap();
        assert_eq!(vault.state.lock().journal.as_ref().unwrap().count(), 20_000);
    }
}
