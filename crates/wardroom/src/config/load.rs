//! Reading the configuration. figment is used here only.

use std::{fmt, path::Path};

use figment::{Figment, error::Kind, providers::Serialized};

use super::{
    Config,
    environment::{Environment, SOURCE},
};

/// Why there is no configuration: one sentence per problem, each naming its key.
#[derive(Debug, thiserror::Error)]
pub(crate) struct ConfigError {
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "configuration: {problem}"),
            problems => {
                f.write_str("configuration:")?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// Reads the file and the environment, and validates.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    load_with(path, Environment::of_process())
}

fn load_with(path: &Path, environment: Environment) -> Result<Config, ConfigError> {
    let unreadable = |error| ConfigError { problems: vec![format!("{}: {error}", path.display())] };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let message = error.to_string();
        ConfigError { problems: vec![format!("{}: {}", path.display(), message.trim_end())] }
    })?;
    let figment = Figment::new().merge(Serialized::defaults(table)).merge(environment);
    let config: Config = figment.extract().map_err(|error| ConfigError { problems: explain(error, path) })?;
    match config.problems() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(ConfigError { problems }),
    }
}

fn explain(error: figment::Error, path: &Path) -> Vec<String> {
    error.into_iter().map(|error| sentence(&error, path)).collect()
}

/// One problem, its key first.
fn sentence(error: &figment::Error, path: &Path) -> String {
    let from_environment = error.metadata.as_ref().is_some_and(|metadata| metadata.name == SOURCE);
    let key = |last: Option<&str>| {
        let parts: Vec<&str> = error.path.iter().map(String::as_str).chain(last).collect();
        let place = if from_environment { "the environment".to_owned() } else { path.display().to_string() };
        match parts.as_slice() {
            [] => place,
            parts => format!("{} in {place}", parts.join(".")),
        }
    };
    match &error.kind {
        Kind::UnknownField(field, known) => {
            // figment's path ends with the unknown key in some cases and before it in others.
            let last = (error.path.last() != Some(field)).then_some(field.as_str());
            format!("{}: unknown key, known here are {}", key(last), known.join(", "))
        }
        Kind::MissingField(field) => format!("{}: the key is missing", key(Some(field))),
        Kind::DuplicateField(field) => format!("{}: the key is there twice", key(Some(field))),
        kind => format!("{}: {kind}", key(None)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::load_with;
    use crate::config::{Config, environment::Environment, log::Format};

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wardroom.toml");
        fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load_with(&path, Environment::of(variables)).map_err(|error| error.to_string())
    }

    const NAME: &str = "server_name = \"a.example\"\n";

    fn problem(file: &str, variables: &[(&str, &str)]) -> String {
        load(&format!("{NAME}{file}"), variables).unwrap_err()
    }

    #[test]
    fn unknown_keys_are_named() {
        for (file, key) in [
            ("datadir = 1", "datadir"),
            ("[registration]\nopne = true", "registration.opne"),
            ("[password]\nargon2 = { memory = 1 }", "password.argon2.memory"),
            ("[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"x\" }", "certificate"),
            ("[registratoin]\nopen = true", "registratoin"),
        ] {
            let problem = problem(file, &[]);
            assert!(problem.contains(key) && problem.contains("unknown key"), "{problem}");
        }
    }

    #[test]
    fn unknown_variables_are_named() {
        let problem = problem("", &[("WARDROOM_REGISTRATION__OPNE", "true")]);
        assert!(problem.contains("registration.opne in the environment: unknown key"), "{problem}");
        let problem = self::problem("", &[("WARDROOM_TYPO", "1")]);
        assert!(problem.contains("typo in the environment: unknown key"), "{problem}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = format!("{NAME}[rooms]\ndefault_version = \"9\"\n[log]\nformat = \"text\"");
        let config = load(
            &file,
            &[
                ("WARDROOM_SERVER_NAME", "1.2.3.4"),
                ("WARDROOM_ROOMS__DEFAULT_VERSION", "11"),
                ("WARDROOM_REGISTRATION__SHARED_SECRET", "007"),
                ("WARDROOM_REGISTRATION__OPEN", "true"),
                ("WARDROOM_REGISTRATION__TOKENS", "[\"a\", \"b\"]"),
                ("WARDROOM_PASSWORD__ARGON2__MEMORY_KIB", "64"),
                ("WARDROOM_LOG__FORMAT", "json"),
                ("WARDROOM_MASTER_KEY__COMMAND", "\"echo 1\""),
                ("WARDROOM_LISTENER", "[{address=\"127.0.0.1:9\"}]"),
                ("OTHER", "1"),
            ],
        )
        .unwrap();
        assert_eq!(config.server_name, "1.2.3.4");
        assert_eq!(config.rooms.default_version.as_str(), "11");
        assert_eq!(config.registration.shared_secret, "007");
        assert_eq!(config.registration.tokens, ["a", "b"]);
        assert!(config.registration.open);
        assert_eq!((config.password.argon2.memory_kib, config.password.argon2.iterations), (64, 2));
        assert_eq!(config.log.format, Format::Json);
        assert_eq!(config.master_key.command.as_deref(), Some("echo 1"));
        assert_eq!(config.listener[0].address.port(), 9);
    }

    #[test]
    fn values_are_checked_and_keys_named() {
        for (file, key) in [
            ("[rooms]\ndefault_version = \"5\"", "rooms.default_version"),
            ("[password]\nargon2 = { memory_kib = 1 }", "password.argon2"),
            ("[[listener]]\naddress = \"nowhere\"", "address"),
            ("[[listener]]\naddress = \"127.0.0.1:1\"\nserves = [\"metrics\", \"client\"]", "listener"),
            ("[[listener]]\naddress = \"127.0.0.1:1\"\nserves = []", "serves"),
            ("[log]\nfilter = \"a=b=c\"", "log.filter"),
            ("[log]\nformat = \"xml\"", "log.format"),
            ("[master_key]\nfile = \"a\"\ncommand = \"b\"", "master_key"),
            ("[media]\nmax_upload_bytes = -1", "media.max_upload_bytes"),
            ("public_url = \"a.example\"", "public_url"),
            ("listener = []", "listener"),
        ] {
            let problem = problem(file, &[]);
            assert!(problem.contains(key), "{file}: {problem}");
        }
        let problem = load("server_name = \"no spaces\"", &[]).unwrap_err();
        assert!(problem.contains("server_name"), "{problem}");
        assert!(load("", &[]).unwrap_err().contains("server_name"), "a missing name is named");
        assert!(load("server_name = ", &[]).unwrap_err().contains("wardroom.toml"), "a broken file is named");
    }
}
