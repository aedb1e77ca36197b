//! Places on the one log.

/// How far the log leaps when a store opens. Commits without writes get positions that are nowhere on disk; the leap
/// keeps those from being given to something else after a crash.
pub const POSITION_LEAP: u64 = 1 << 20;

/// The place of a commit on the one log. Assigned by the committer in commit order, never reused.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Position(u64);

impl Position {
    /// Before every commit.
    pub const ZERO: Self = Self(0);
    /// Stands in keys of a [`crate::Batch`] for the position that the commit will get.
    pub const COMMIT: Self = Self(u64::MAX);

    /// The position with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this position.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `steps` commits later.
    pub(crate) const fn plus(self, steps: u64) -> Self {
        Self(self.0 + steps)
    }
}
