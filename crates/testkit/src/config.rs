//! The configuration file of a server under test.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use crate::tls::TlsFiles;

/// A listener besides the first, plain one.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What it serves: `client`, `federation`, `media`, `admin` or `metrics`; empty for the server's default.
    pub serves: Vec<String>,
    /// Certificate and key, for a TLS listener.
    pub tls: Option<TlsFiles>,
}

/// What the configuration file will say. Starts with what suits most tests: open registration, password hashing
/// as cheap as it gets, no rate limits, durability as in production.
#[derive(Clone, Debug)]
pub struct Config {
    /// Dotted key to TOML literal.
    values: BTreeMap<String, String>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) launcher: Vec<String>,
    pub(crate) federation: Option<Federating>,
}

/// How a server is known to others.
#[derive(Clone, Debug)]
pub(crate) enum Federating {
    /// By this host and the port of its TLS listener.
    Host(String),
    /// By this name: something at that name passes requests on.
    Name(String),
}

impl Default for Config {
    fn default() -> Self {
        let (values, listeners, environment, launcher) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { values, listeners, environment, launcher, federation: None }
            .set("server_name", r#""hospital-a.example""#)
            .set("registration.open", "true")
            .set("registration.shared_secret", r#""a shared secret of the tests""#)
            .set("password.argon2", "{ memory_kib = 8, iterations = 1, parallelism = 1 }")
            .set("rate_limits.enabled", "false")
    }
}

impl Config {
    /// Sets an option: a dotted key as in the configuration file, and a TOML literal.
    #[must_use]
    pub fn set(mut self, key: &str, toml_literal: &str) -> Self {
        self.values.insert(key.to_owned(), toml_literal.to_owned());
        self
    }

    /// Leaves an option at the server's own default.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        self.values.remove(key);
        self
    }

    /// Adds a listener, on a port of its own.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Lets the server speak to other servers of the tests: it gets a TLS listener with a certificate of the tests'
    /// authority, and is called after it: `host` is `127.0.0.1` or `localhost`.
    #[must_use]
    pub fn federating_as(mut self, host: &str) -> Self {
        self.federation = Some(Federating::Host(host.to_owned()));
        self.federating()
    }

    /// Lets the server speak to other servers of the tests, by a name at which a [`crate::FaultProxy`] listens.
    #[must_use]
    pub fn federating_behind(mut self, name: &str) -> Self {
        self.federation = Some(Federating::Name(name.to_owned()));
        self.federating()
    }

    fn federating(mut self) -> Self {
        // The files are made with the server's directory.
        self.listeners.insert(0, Listener { serves: Vec::new(), tls: None });
        self.set("federation.deny_ip_ranges", "[]")
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server through a command that gets its command line appended, and must `exec` it: the process that
    /// is started must become the server.
    #[must_use]
    pub fn launched_by(mut self, command: &[&str]) -> Self {
        self.launcher = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The server's name, as in user ids.
    pub fn server_name(&self) -> &str {
        self.values.get("server_name").map_or("", |literal| literal.trim_matches('"'))
    }

    /// The file's text, for a server whose directory is `dir` and whose listeners get `ports` in order.
    pub(crate) fn to_toml(&self, dir: &Path, ports: &[u16]) -> String {
        let mut toml = String::new();
        let mut put = |key: &str, literal: &str| writeln!(toml, "{key} = {literal}").unwrap();
        if !self.values.contains_key("data_dir") {
            put("data_dir", &quoted(&dir.join("data")));
        }
        if !self.values.keys().any(|key| key.starts_with("master_key")) {
            put("master_key.file", &quoted(&dir.join("master.key")));
        }
        for (key, literal) in &self.values {
            put(key, literal);
        }
        let plain = Listener { serves: Vec::new(), tls: None };
        for (listener, port) in std::iter::once(&plain).chain(&self.listeners).zip(ports) {
            write!(toml, "\n[[listener]]\naddress = \"127.0.0.1:{port}\"\n").unwrap();
            if let Some(TlsFiles { cert, key, .. }) = &listener.tls {
                writeln!(toml, "tls = {{ cert = {}, key = {} }}", quoted(cert), quoted(key)).unwrap();
            }
            if !listener.serves.is_empty() {
                writeln!(toml, "serves = {:?}", listener.serves).unwrap();
            }
        }
        toml
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().expect("paths of the tests are UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, Listener};

    #[test]
    fn top_level_keys_come_before_the_listeners() {
        let metrics = Listener { serves: vec!["metrics".to_owned()], tls: None };
        let toml = Config::default().set("log.format", r#""json""#).listener(metrics).to_toml(Path::new("/d"), &[1, 2]);
        let (keys, listeners) = toml.split_once("\n[[listener]]\n").expect("listeners follow");
        assert!(keys.contains("data_dir = \"/d/data\"\n"), "{toml}");
        assert!(keys.contains("log.format = \"json\"\n"), "{toml}");
        assert_eq!(
            listeners,
            "address = \"127.0.0.1:1\"\n\n[[listener]]\naddress = \"127.0.0.1:2\"\nserves = [\"metrics\"]\n"
        );
    }

    #[test]
    fn an_option_can_be_left_to_the_server() {
        let config = Config::default().unset("registration.open");
        assert!(!config.to_toml(Path::new("/d"), &[1]).contains("registration.open"));
        assert_eq!(config.server_name(), "hospital-a.example");
    }
}
