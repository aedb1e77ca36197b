//! Names that no other test uses.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

/// Differs between runs, so that two test processes on one server do not collide.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:06x}", rand::random::<u32>() & 0x00ff_ffff));
static NEXT: AtomicU64 = AtomicU64::new(1);

/// `prefix-3f9a01-17`: lower case and valid as a user's localpart, an alias or a transaction id.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))
}
