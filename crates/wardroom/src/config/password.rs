//! `[password]`

use serde::{Deserialize, Serialize};

/// Least memory of argon2 per lane, in KiB (RFC 9106, section 3.1).
const KIB_PER_LANE_MIN: u32 = 8;

/// Most memory of one hash, in KiB: more would let a few sign-ins push everything else out of memory.
const KIB_MAX: u32 = 4 * 1024 * 1024;

/// How passwords are kept.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Password {
    /// Cost of a hash.
    pub(crate) argon2: Argon2,
}

/// Parameters of argon2id; the defaults are OWASP's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Argon2 {
    /// Memory, in KiB.
    pub(crate) memory_kib: u32,
    /// Passes.
    pub(crate) iterations: u32,
    /// Lanes.
    pub(crate) parallelism: u32,
}

impl Default for Argon2 {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

impl Password {
    pub(super) fn problems(&self) -> Vec<String> {
        let Argon2 { memory_kib, iterations, parallelism } = self.argon2;
        let mut problems = Vec::new();
        if !(1..=255).contains(&parallelism) {
            problems.push("password.argon2.parallelism: must be 1 to 255".to_owned());
        }
        if !(1..=1_000).contains(&iterations) {
            problems.push("password.argon2.iterations: must be 1 to 1000".to_owned());
        }
        let least = KIB_PER_LANE_MIN.saturating_mul(parallelism);
        if !(least..=KIB_MAX).contains(&memory_kib) {
            problems.push(format!("password.argon2.memory_kib: must be {least} to {KIB_MAX}"));
        }
        problems
    }
}
