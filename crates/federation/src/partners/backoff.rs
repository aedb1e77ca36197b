//! Servers that did not answer lately and are left alone for a while. In memory only: what must outlive a restart is the
//! queue of what waits for them.

use std::{fmt, time::Duration};

use quick_cache::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use wardroom_clock::SharedClock;

/// Servers remembered.
const SERVERS_MAX: usize = 20_000;
/// How long a server is left alone after its second failure in a row; the first may be an accident.
const FIRST: Duration = Duration::from_secs(2);
/// How long at most.
const LONGEST: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    until_ms: u64,
}

/// Who did not answer lately.
pub(crate) struct Backoff {
    clock: SharedClock,
    servers: Cache<OwnedServerName, Failures>,
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("servers", &self.servers.len()).finish_non_exhaustive()
    }
}

impl Backoff {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, servers: Cache::new(SERVERS_MAX) }
    }

    /// Whether a server is to be left alone now.
    pub(crate) fn holds(&self, server: &ServerName) -> bool {
        self.servers.peek(server).is_some_and(|failures| failures.until_ms > self.clock.now_ms())
    }

    /// A server could not be reached. Failures of requests that ran at the same time count once.
    pub(crate) fn note_failure(&self, server: &ServerName) {
        let now_ms = self.clock.now_ms();
        let before = self.servers.peek(server);
        if before.is_some_and(|before| before.until_ms > now_ms) {
            return;
        }
        let count = before.map_or(0, |before| before.count);
        let wait = match count {
            0 => Duration::ZERO,
            _ => FIRST.saturating_mul(1 << (count - 1).min(16)).min(LONGEST),
        };
        // Spread, so that not everybody comes back at once.
        let wait = wait.mul_f64(rand::random_range(0.8..1.2));
        let until_ms = now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.servers.insert(server.to_owned(), Failures { count: count.saturating_add(1), until_ms });
    }

    /// A server answered, or was heard of.
    pub(crate) fn note_success(&self, server: &ServerName) {
        if self.servers.peek(server).is_some() {
            self.servers.remove(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::server_name;
    use wardroom_clock::ManualClock;

    use super::*;

    #[test]
    fn who_fails_again_and_again_is_left_alone_ever_longer_until_it_answers() {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let backoff = Backoff::new(clock.clone());
        let server = server_name!("a.example");
        backoff.note_failure(server);
        assert!(!backoff.holds(server), "once is no habit");
        for _ in 0..40 {
            backoff.note_failure(server);
            assert!(backoff.holds(server));
            backoff.note_failure(server);
            clock.advance_ms(2 * 10 * 60 * 1_000);
            assert!(!backoff.holds(server));
        }
        backoff.note_failure(server);
        backoff.note_success(server);
        assert!(!backoff.holds(server));
        assert!(!backoff.holds(server_name!("b.example")));
    }
}
