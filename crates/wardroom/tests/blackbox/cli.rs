//! The command line and the configuration.

mod admin;
mod configuration;
mod process;
mod user_create;

use std::{path::Path, process::Command, time::Duration};

use wardroom_testkit::{Ended, command_in, run};

use crate::BINARY;

/// No command but `serve` may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory for one test, removed with it.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(wardroom_testkit::unique("wardroom-cli"));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a configuration file that is complete but for `more`.
    fn config(&self, more: &str) {
        let text = format!(
            "server_name = \"hospital-a.example\"\ndata_dir = \"data\"\n{more}\n[[listener]]\naddress = \"127.0.0.1:0\"\n"
        );
        std::fs::write(self.0.join("wardroom.toml"), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        command_in(BINARY, &self.0, args)
    }

    /// `wardroom check` on the configuration.
    fn check(&self) -> Ended {
        run(self.command(&["check", "--config", "wardroom.toml"]), LIMIT)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
