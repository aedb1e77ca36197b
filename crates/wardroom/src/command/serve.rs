//! `wardroom serve`.

use std::sync::Arc;

use tracing::{info, warn};
use wardroom_clock::SystemClock;

use super::{ConfigFile, Failure, runtime};
use crate::{auditing, config::Config, limits, listeners, log, signals::Signals, wiring::App};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    log::start(&config.log)?;
    limits::raise_open_files();
    runtime()?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    // Before the store: a second server must not get past a taken port, and not start work for nothing.
    let sockets = listeners::bind(&config.listener)?;
    for sentence in config.warnings() {
        warn!("{sentence}");
    }
    let app = App::build(&config, Arc::new(SystemClock)).await?;
    let listeners = listeners::start(sockets, &app)?;
    info!(version = env!("CARGO_PKG_VERSION"), "Wardroom serves");
    let audit = app.audit().clone();
    let reload = || {
        listeners.reload_certificates();
        tokio::spawn(auditing::note_reload(audit.clone()));
    };
    signals.wait(reload).await;

    info!("stopping");
    app.stopping().cancel();
    listeners.stop().await;
    app.close().await;
    info!("stopped");
    Ok(())
}
