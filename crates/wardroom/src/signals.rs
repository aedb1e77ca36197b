//! Signals: SIGINT and SIGTERM stop the server, SIGHUP reads the certificates again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// The signals that the server listens to.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens from now on: a signal that comes while the server starts is not lost, and does not kill it halfway.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM, and calls `reload` for each SIGHUP. After the first signal to stop, a second one
    /// ends the process at once.
    pub(crate) async fn wait(self, reload: impl Fn()) {
        let Self { mut interrupt, mut terminate, mut hang_up } = self;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => reload(),
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            warn!("stopped at once by a second signal");
            std::process::exit(1);
        });
    }
}
