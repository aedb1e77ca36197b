//! Signals: SIGINT and SIGTERM stop the server, SIGHUP reads the certificates again.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Waits for SIGINT or SIGTERM, and calls `reload` for each SIGHUP. After the first signal to stop, a second one ends
/// the process at once.
pub(crate) async fn wait(reload: impl Fn()) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
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
    Ok(())
}
