//! The version of the schema, and the way from one to the next.
//!
//! A new store has the newest version. A store of an older version is brought up when it opens, one migration after
//! the other; each is followed by a commit of the version it leads to. A crash in between repeats one migration, so
//! each must be repeatable. There is no way back, and a store of a newer version is refused.

use std::{error::Error, pin::Pin};

use crate::{Batch, OpenError, Store, internal::SCHEMA};

/// Version of a store that has no migrations.
pub(crate) const SCHEMA_FIRST: u32 = 1;

/// What a migration may fail with.
pub type MigrationError = Box<dyn Error + Send + Sync>;

/// The work of a migration: reads and commits through the store, which nobody else uses yet.
pub type MigrationRun = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<(), MigrationError>> + Send + 'a>>;

/// The way from one version of the schema to the next.
#[derive(Debug, Copy, Clone)]
pub struct Migration {
    /// The version it starts from; it leads to the next. The first is 1.
    pub from: u32,
    /// For the log.
    pub name: &'static str,
    /// The work. Must be repeatable.
    pub run: MigrationRun,
}

/// The version that a list of migrations leads to.
///
/// # Errors
/// When the list has gaps or is out of order.
pub(crate) fn newest(migrations: &[Migration]) -> Result<u32, OpenError> {
    let mut version = SCHEMA_FIRST;
    for migration in migrations {
        if migration.from != version {
            return Err(OpenError::Migrations { expected: version, found: migration.from });
        }
        version += 1;
    }
    Ok(version)
}

/// Brings the store from the version found to the newest.
pub(crate) async fn migrate(store: &Store, found: u32, migrations: &[Migration]) -> Result<(), OpenError> {
    for migration in migrations.iter().filter(|migration| migration.from >= found) {
        tracing::info!(from = migration.from, name = migration.name, "migrating the store");
        let failed = |source| OpenError::Migration { name: migration.name, source };
        (migration.run)(store).await.map_err(failed)?;
        let mut batch = Batch::default();
        store.core().put_schema(&mut batch, migration.from + 1);
        store.commit(batch).await.map_err(|error| failed(Box::new(error)))?;
    }
    Ok(())
}

impl crate::store::Core {
    pub(crate) fn put_schema(&self, batch: &mut Batch, version: u32) {
        batch.put_sealed(&SCHEMA, &(), &u64::from(version), self.keyring().wrapping());
    }
}
