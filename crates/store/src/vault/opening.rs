//! From a directory to a vault.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32},
    time::Instant,
};

use aws_lc_rs::rand;
use parking_lot::Mutex;

use super::{Contents, Journal, JournalFault, Kept, KeptFile, SCOPED_KEY_ID_MIN, State, Vault, read_row};
use crate::{
    Batch, MasterKey, OpenError, Packed, Position,
    engine::{Engine, Memory, Reach, Rocks},
    internal::{ERASED, NEXT_KEY, VAULT, VaultRecord},
    sealing::{Nonces, Unsealable},
};

/// Where the engine of the vault lies.
pub(super) const ENGINE_DIR: &str = "db";
/// The journal's file.
pub(super) const JOURNAL_FILE: &str = "shred.journal";
/// The file of what must outlive a restore.
pub(super) const KEPT_FILE: &str = "kept.journal";
/// A file that an engine has as soon as it holds anything.
const ENGINE_FILE: &str = "CURRENT";

/// Where a vault is, and what opens it.
#[derive(Debug, Copy, Clone)]
pub(crate) struct VaultPlace<'a> {
    /// Where it lies; none is memory.
    pub(crate) dir: Option<&'a Path>,
    pub(crate) master: &'a MasterKey,
    pub(crate) now_unix_seconds: u64,
}

impl VaultPlace<'_> {
    /// The vault of a new store. One is there already if the making of the store was interrupted.
    pub(crate) fn make(&self) -> Result<Vault, OpenError> {
        let Some(dir) = self.dir else { return self.make_in(Arc::new(Memory::default()), None) };
        let was_there = has_engine(dir);
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let engine: Arc<dyn Engine> = Arc::new(Rocks::open_keys(&dir.join(ENGINE_DIR))?);
        if !was_there || engine.get(VAULT.spec().profile, &VAULT.row_key(&()), Reach::Disk)?.is_none() {
            return self.make_in(engine, Some(dir));
        }
        let vault = self.open_in(engine, dir)?;
        if vault.next_id() > SCOPED_KEY_ID_MIN { Err(OpenError::KeysWithoutStore) } else { Ok(vault) }
    }

    fn make_in(&self, engine: Arc<dyn Engine>, dir: Option<&Path>) -> Result<Vault, OpenError> {
        let mut store_id = [0; 16];
        rand::fill(&mut store_id).map_err(|_| Unsealable)?;
        let make_journal = |dir: &Path| {
            Journal::create(&dir.join(JOURNAL_FILE), self.master.journal_key(), store_id, self.now_unix_seconds)
        };
        let journal = dir.map(make_journal).transpose()?;
        let kept = dir.map(|dir| self.open_kept(dir, store_id)).transpose()?.unwrap_or(Kept::Memory(Vec::new()));
        if let Some(dir) = dir {
            sync_up(dir)?;
        }
        let wrapping = self.master.wrapping_key();
        let mut batch = Batch::default();
        batch.put(&VAULT, &(), &Packed(VaultRecord { store_id }));
        batch.put(&NEXT_KEY, &(), &u64::from(SCOPED_KEY_ID_MIN));
        batch.put(&ERASED, &(), &0);
        batch.seal(Position::ZERO, &wrapping, &mut Nonces::default())?;
        engine.write(&mut batch.changes(), true)?;
        Ok(self.vault(engine, store_id, SCOPED_KEY_ID_MIN, (journal, kept)))
    }

    fn open_kept(&self, dir: &Path, store_id: [u8; 16]) -> Result<Kept, OpenError> {
        let opened = KeptFile::open(&dir.join(KEPT_FILE), self.master.kept_key(), store_id);
        Ok(Kept::File(opened.map_err(bad_journal)?))
    }

    /// The vault of a store that was made before; carries out what its journal says and a crash left undone.
    pub(crate) fn open(&self, store_id: [u8; 16]) -> Result<Vault, OpenError> {
        let Some(dir) = self.dir else { return Err(OpenError::Corrupt) };
        if !has_engine(dir) {
            return Err(OpenError::NoKeys(dir.to_owned()));
        }
        let vault = self.open_in(Arc::new(Rocks::open_keys(&dir.join(ENGINE_DIR))?), dir)?;
        if vault.store_id == store_id { Ok(vault) } else { Err(OpenError::OtherKeys) }
    }

    /// The vault in its directory, whatever store it belongs to.
    pub(crate) fn open_alone(&self) -> Result<Vault, OpenError> {
        let dir = self.dir.filter(|dir| has_engine(dir)).ok_or_else(|| OpenError::NoKeys(self.path()))?;
        self.open_in(Arc::new(Rocks::open_keys(&dir.join(ENGINE_DIR))?), dir)
    }

    fn path(&self) -> PathBuf {
        self.dir.unwrap_or(Path::new("")).to_owned()
    }

    fn open_in(&self, engine: Arc<dyn Engine>, dir: &Path) -> Result<Vault, OpenError> {
        let wrapping = self.master.wrapping_key();
        let sealed = engine.get(VAULT.spec().profile, &VAULT.row_key(&()), Reach::Disk)?;
        if sealed.is_none() {
            return Err(OpenError::NoKeys(dir.to_owned()));
        }
        let identity = read_row(&*engine, &wrapping, &VAULT, &(), Reach::Disk);
        let Ok(Some(Packed(VaultRecord { store_id }))) = identity else { return Err(OpenError::WrongMasterKey) };
        let number = |table| read_row(&*engine, &wrapping, table, &(), Reach::Disk)?.ok_or(OpenError::Corrupt);
        let (next, erased) = (number(&NEXT_KEY)?, number(&ERASED)?);
        let next = u32::try_from(next).map_err(|_| OpenError::Corrupt)?;

        let path = dir.join(JOURNAL_FILE);
        let read = Contents::read(&path, &self.master.journal_key()).map_err(bad_journal)?;
        if read.store_id != store_id || read.count < erased {
            return Err(OpenError::Journal("it is not the one of these keys, or was cut off".into()));
        }
        let journal = Journal::open(&path, self.master.journal_key(), &read)?;
        // A journal that was continued elsewhere names keys that these do not know.
        let next = read.destroyed.iter().map(|(_, destroyed)| destroyed.before).fold(next, u32::max);
        let kept = self.open_kept(dir, store_id)?;
        let vault = self.vault(engine, store_id, next, (Some(journal), kept));
        vault.carry_out(&read, erased).map_err(|error| OpenError::Engine(error.to_string().into()))?;
        Ok(vault)
    }

    fn vault(
        &self,
        engine: Arc<dyn Engine>,
        store_id: [u8; 16],
        next: u32,
        (journal, kept): (Option<Journal>, Kept),
    ) -> Vault {
        Vault {
            engine,
            wrapping: self.master.wrapping_key(),
            store_id,
            next: AtomicU32::new(next),
            wanted: Mutex::default(),
            making: Arc::default(),
            state: Mutex::new(State { journal, undeleted: Vec::new(), unerased: Vec::new() }),
            kept: Mutex::new(kept),
            files: Mutex::default(),
            opened: Instant::now(),
            opened_unix_seconds: self.now_unix_seconds,
        }
    }
}

pub(super) fn bad_journal(fault: JournalFault) -> OpenError {
    match fault {
        JournalFault::Io(error) => OpenError::Journal(error.to_string().into()),
        JournalFault::Corrupt => OpenError::Journal("it is damaged, or belongs to another master key".into()),
    }
}

fn has_engine(dir: &Path) -> bool {
    fs::exists(dir.join(ENGINE_DIR).join(ENGINE_FILE)).unwrap_or(false)
}

/// Makes the entries of a directory and of the one above it durable.
fn sync_up(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
        _ => Ok(()),
    }
}
