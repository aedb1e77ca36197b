//! Refuses writes before the disk is full, so that the engine never runs into the wall.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// The free space is looked up again after so long ...
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// ... or after so many bytes written.
const CHECK_BYTES: u64 = 4 << 20;
/// A full disk is logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Watches the free space of one directory.
#[derive(Debug)]
pub(crate) struct DiskGate {
    dir: PathBuf,
    free_bytes_min: u64,
    free_bytes: u64,
    checked: Option<Instant>,
    written_bytes: u64,
    logged: Option<Instant>,
}

impl DiskGate {
    pub(crate) fn new(dir: PathBuf, free_bytes_min: u64) -> Self {
        Self { dir, free_bytes_min, free_bytes: u64::MAX, checked: None, written_bytes: 0, logged: None }
    }

    /// Whether there is room for writes.
    pub(crate) fn is_open(&mut self) -> bool {
        let due = self.checked.is_none_or(|checked| checked.elapsed() >= CHECK_INTERVAL);
        if due || self.written_bytes >= CHECK_BYTES {
            // A file system that does not answer is not taken for a full one.
            self.free_bytes =
                rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
            self.checked = Some(Instant::now());
            self.written_bytes = 0;
        }
        let open = self.free_bytes >= self.free_bytes_min;
        if !open {
            self.complain();
        }
        open
    }

    /// Counts what was written since the last look.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.written_bytes += bytes;
    }

    /// Logs that the disk is full, now and then.
    pub(crate) fn complain(&mut self) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            tracing::error!(
                free_bytes = self.free_bytes,
                free_bytes_min = self.free_bytes_min,
                "disk full: writes are refused until there is space"
            );
        }
    }
}
