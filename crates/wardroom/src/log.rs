//! Logs, to standard error.

use std::{io, io::IsTerminal as _, panic};

use tracing::error;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::log::{Format, Log};

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging was started twice")]
    Twice,
}

/// Starts logging. From here on a panic is a line of the log too, with its place only: its message may quote what a
/// client sent.
pub(crate) fn start(log: &Log) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LogError::Twice)?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic");
    }));
    Ok(())
}
