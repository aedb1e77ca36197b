//! Backups that administrators ask the running server for.

use std::sync::Arc;

use tokio::sync::Mutex;
use wardroom_admin_api::{BackupFailed, BackupFuture, BackupMade, Backups};
use wardroom_audit::{Act, AuditLog, Record};
use wardroom_clock::SharedClock;
use wardroom_store::Store;

use crate::{
    backup::{self, Target},
    causes::in_full,
    config::Config,
    wiring::StartError,
};

/// Makes backups of an open store to the configured directories, one at a time.
#[derive(Debug)]
pub(crate) struct BackingUp {
    store: Store,
    audit: AuditLog,
    clock: SharedClock,
    config: Config,
    alone: Arc<Mutex<()>>,
}

impl BackingUp {
    /// None where the configuration names no directories.
    pub(crate) fn of(
        config: &Config,
        (store, audit): (&Store, &AuditLog),
        clock: &SharedClock,
    ) -> Option<Arc<dyn Backups>> {
        config.backup.is_on().then(|| -> Arc<dyn Backups> {
            let (config, alone) = (config.clone(), Arc::default());
            Arc::new(Self { store: store.clone(), audit: audit.clone(), clock: Arc::clone(clock), config, alone })
        })
    }
}

impl Backups for BackingUp {
    fn make(&self) -> BackupFuture {
        let Ok(alone) = Arc::clone(&self.alone).try_lock_owned() else {
            return Box::pin(async { Err(BackupFailed::Busy) });
        };
        let now_ms = self.clock.now_ms();
        let target = Target {
            media: self.config.media_dir(),
            data: self.config.backup.dir.join(now_ms.to_string()),
            keys: self.config.backup.keys_dir.clone(),
            server_name: self.config.server_name.to_string(),
            now_ms,
        };
        let (store, audit, directory) = (self.store.clone(), self.audit.clone(), target.data.display().to_string());
        Box::pin(async move {
            let recorded = audit.write(Record::of(Act::BackupCreate)).await;
            let made = match recorded {
                Ok(()) => backup::make(&store, target).await,
                Err(error) => Err(StartError::from(error).into()),
            };
            drop(alone);
            match made {
                Ok(made) => Ok(BackupMade {
                    directory,
                    media_files: made.media_files,
                    media_bytes: made.media_bytes,
                    destructions: made.destructions,
                }),
                Err(error) => {
                    let why = in_full(&error);
                    tracing::error!(why, "a backup failed");
                    Err(BackupFailed::Failed(why))
                }
            }
        })
    }
}
