//! The configuration: a TOML file, the environment over it, one small struct per section.
//!
//! Unknown keys are errors that name the key. `config/wardroom.toml` shows every option with its default; a test
//! keeps it equal to what stands here, but for the two that a fresh install has as hospitals want them.

mod admin;
mod audit;
mod audit_export;
pub(crate) mod backup;
mod calls;
mod delayed_events;
pub(crate) mod directories;
mod durability;
mod environment;
pub(crate) mod federation;
pub(crate) mod listener;
mod load;
pub(crate) mod log;
pub(crate) mod master_key;
mod media;
pub(crate) mod oidc;
mod password;
mod presence;
pub(crate) mod push;
mod rate_limits;
mod registration;
mod retention;
mod roles;
mod rooms;
pub(crate) mod scim;
mod server_notices;
mod sessions;
mod support;
mod user_directory;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

pub(crate) use self::{environment::ADMIN_TOKEN, load::load};

/// `config/wardroom.toml`.
pub(crate) const EXAMPLE: &str = include_str!("../../../config/wardroom.toml");

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Name of this server: the part after the colon in the ids of its users. It cannot be changed later.
    pub(crate) server_name: OwnedServerName,
    /// Directory of everything that is stored, relative to the working directory.
    #[serde(default = "default_data_dir")]
    pub(crate) data_dir: PathBuf,
    /// Where clients reach this server; empty for `https://` and the server's name.
    #[serde(default)]
    pub(crate) public_url: String,
    #[serde(default)]
    pub(crate) master_key: master_key::MasterKeyConfig,
    #[serde(default = "listener::default")]
    pub(crate) listener: Vec<listener::Listener>,
    #[serde(default)]
    pub(crate) registration: registration::Registration,
    #[serde(default)]
    pub(crate) federation: federation::Federation,
    #[serde(default)]
    pub(crate) password: password::Password,
    #[serde(default)]
    pub(crate) sessions: sessions::Sessions,
    #[serde(default)]
    pub(crate) oidc: oidc::Oidc,
    #[serde(default)]
    pub(crate) rooms: rooms::Rooms,
    #[serde(default)]
    pub(crate) retention: retention::Retention,
    #[serde(default)]
    pub(crate) user_directory: user_directory::UserDirectory,
    #[serde(default)]
    pub(crate) presence: presence::Presence,
    #[serde(default)]
    pub(crate) turn: calls::Turn,
    #[serde(default)]
    pub(crate) rtc: calls::Rtc,
    #[serde(default)]
    pub(crate) delayed_events: delayed_events::DelayedEvents,
    #[serde(default)]
    pub(crate) server_notices: server_notices::ServerNotices,
    #[serde(default)]
    pub(crate) roles: roles::Roles,
    #[serde(default)]
    pub(crate) admin: admin::Admin,
    #[serde(default)]
    pub(crate) audit: audit::Audit,
    #[serde(default)]
    pub(crate) audit_export: audit_export::AuditExport,
    #[serde(default)]
    pub(crate) scim: scim::Scim,
    #[serde(default)]
    pub(crate) directories: directories::Directories,
    #[serde(default)]
    pub(crate) rate_limits: rate_limits::RateLimits,
    #[serde(default)]
    pub(crate) media: media::Media,
    #[serde(default)]
    pub(crate) push: push::Push,
    #[serde(default)]
    pub(crate) url_previews: media::UrlPreviews,
    #[serde(default)]
    pub(crate) durability: durability::Durability,
    #[serde(default)]
    pub(crate) backup: backup::Backup,
    #[serde(default)]
    pub(crate) support: support::Support,
    #[serde(default)]
    pub(crate) log: log::Log,
    /// Registration files of application services.
    #[serde(default)]
    pub(crate) appservices: Vec<PathBuf>,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("data")
}

impl Config {
    /// The defaults, for a server of this name.
    #[cfg(test)]
    pub(crate) fn named(server_name: OwnedServerName) -> Self {
        Self {
            server_name,
            data_dir: default_data_dir(),
            public_url: String::new(),
            master_key: master_key::MasterKeyConfig::default(),
            listener: listener::default(),
            registration: registration::Registration::default(),
            federation: federation::Federation::default(),
            password: password::Password::default(),
            sessions: sessions::Sessions::default(),
            oidc: oidc::Oidc::default(),
            rooms: rooms::Rooms::default(),
            retention: retention::Retention::default(),
            user_directory: user_directory::UserDirectory::default(),
            presence: presence::Presence::default(),
            turn: calls::Turn::default(),
            rtc: calls::Rtc::default(),
            delayed_events: delayed_events::DelayedEvents::default(),
            server_notices: server_notices::ServerNotices::default(),
            roles: roles::Roles::default(),
            admin: admin::Admin::default(),
            audit: audit::Audit::default(),
            audit_export: audit_export::AuditExport::default(),
            scim: scim::Scim::default(),
            directories: directories::Directories::default(),
            rate_limits: rate_limits::RateLimits::default(),
            media: media::Media::default(),
            push: push::Push::default(),
            url_previews: media::UrlPreviews::default(),
            durability: durability::Durability::default(),
            backup: backup::Backup::default(),
            support: support::Support::default(),
            log: log::Log::default(),
            appservices: Vec::new(),
        }
    }

    /// Where the store is.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Where the files of the content repository are.
    pub(crate) fn media_dir(&self) -> PathBuf {
        self.data_dir.join("media")
    }

    /// The users that act for the server itself.
    pub(crate) fn own_users(&self) -> Vec<OwnedUserId> {
        let names = [&self.roles.service_user, &self.server_notices.localpart];
        let named = names.into_iter().filter(|name| !name.is_empty()).map(|name| name.to_lowercase());
        named.filter_map(|name| UserId::parse_with_server_name(name, &self.server_name).ok()).collect()
    }

    /// Where clients reach this server, without a slash at the end.
    pub(crate) fn public_url(&self) -> String {
        let given = self.public_url.trim_end_matches('/');
        if !given.is_empty() {
            return given.to_owned();
        }
        let name = &self.server_name;
        let host = name.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let scheme = if loopback { "http" } else { "https" };
        format!("{scheme}://{name}")
    }

    /// Sentences about values that cannot work, each naming its key.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.public_url.is_empty()
            && !["https://", "http://"].iter().any(|scheme| self.public_url.starts_with(scheme))
        {
            problems.push("public_url: must begin with https:// or http://".to_owned());
        }
        if self.data_dir.as_os_str().is_empty() {
            problems.push("data_dir: must not be empty".to_owned());
        }
        problems.extend(self.master_key.problems());
        problems.extend(listener::problems(&self.listener));
        problems.extend(self.registration.problems());
        problems.extend(self.retention.problems());
        problems.extend(self.federation.problems());
        problems.extend(self.password.problems());
        problems.extend(self.oidc.problems());
        problems.extend(self.rooms.problems());
        problems.extend(self.turn.problems());
        problems.extend(self.rtc.problems());
        problems.extend(self.delayed_events.problems());
        problems.extend(self.server_notices.problems(&self.server_name));
        problems.extend(self.roles.problems(&self.server_name));
        problems.extend(self.audit.problems(&self.server_name, self.federation.enabled));
        problems.extend(self.audit_export.problems());
        problems.extend(self.scim.problems());
        problems.extend(self.directories.problems());
        problems.extend(self.media.problems());
        problems.extend(self.backup.problems());
        problems.extend(self.support.problems());
        problems.extend(self.log.problems());
        problems
    }

    /// Sentences about what works, but not as one may think.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.appservices.is_empty() {
            warnings.push("appservices: this version does not speak to application services yet".to_owned());
        }
        if self.federation.enabled && !self.federation.verify_certificates {
            warnings
                .push("federation.verify_certificates: off, anybody on the way may pose as another server".to_owned());
        }
        if !self.durability.sync {
            warnings.push("durability.sync: off, a crash of the machine loses acknowledged messages".to_owned());
        }
        if self.admin.impersonation {
            warnings.push("admin.impersonation: on, administrators can sign in as every other user".to_owned());
        }
        warnings.extend(listener::warnings(&self.listener));
        warnings.extend(self.audit.warnings());
        warnings.extend(self.directories.warnings());
        warnings.extend(self.audit_export.warnings());
        if self.registration.open {
            warnings.push("registration.open: anybody who reaches this server may register".to_owned());
            if self.scim.is_on() {
                let warning =
                    "scim: with registration.open, who registers a name first has what the directory gives it";
                warnings.push(warning.to_owned());
            }
        }
        warnings
    }

    /// Sentences about files that are named and cannot be read; keys and certificates are checked elsewhere.
    pub(crate) fn missing_files(&self) -> Vec<String> {
        let services = self.appservices.iter().map(|path| ("appservices", path));
        let authorities = self.federation.extra_ca.iter().map(|path| ("federation.extra_ca", path));
        let shown = self.federation.client_certificate.iter().flat_map(|tls| [&tls.cert, &tls.key]);
        let shown = shown.map(|path| ("federation.client_certificate", path));
        let trusted = self.federation.list.iter().flat_map(|list| &list.trust);
        let trusted = trusted.map(|path| ("federation.list.trust", path));
        let tokens = self.scim.tokens_file().into_iter().map(|path| ("scim.tokens_file", path));
        services
            .chain(authorities)
            .chain(tokens)
            .chain(shown)
            .chain(trusted)
            .map(|(key, path)| (key, path.clone()))
            .chain(self.oidc.files())
            .chain(self.directories.files())
            .chain(self.audit_export.files())
            .filter_map(|(key, path)| unreadable(key, &path))
            .collect()
    }
}

fn unreadable(key: &str, path: &Path) -> Option<String> {
    fs::File::open(path).err().map(|error| format!("{key} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ruma::owned_server_name;

    use super::{
        Config, EXAMPLE,
        listener::{Listener, Tls},
        master_key::MasterKeyConfig,
    };

    #[test]
    fn the_example_says_the_defaults_but_for_what_hospitals_want() {
        let example: Config = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example.problems(), Vec::<String>::new());
        let mut expected = Config::named(owned_server_name!("hospital-a.example"));
        expected.rooms.private_history = super::rooms::History::Invited;
        expected.push.include_content = false;
        assert_eq!(example, expected);
    }

    /// Every key of a table, as `section.key`.
    fn keys(table: &toml::Table, section: &str, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            match value {
                // An inline table is one option to the reader.
                toml::Value::Table(inner) if section.is_empty() => keys(inner, key, found),
                toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                    let name = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
                    for item in items {
                        keys(item.as_table().unwrap(), &name, found);
                    }
                }
                _ => drop(found.insert(format!("{section}.{key}"))),
            }
        }
    }

    #[test]
    fn the_example_shows_every_option() {
        let mut config = Config::named(owned_server_name!("a.example"));
        config.master_key = MasterKeyConfig { file: Some("x".into()), command: Some("x".into()) };
        let tls = Some(Tls { cert: "x".into(), key: "x".into() });
        config.federation.client_certificate = tls.clone();
        let list = super::federation::List { source: "x".to_owned(), trust: vec!["x".into()], refresh_seconds: 60 };
        config.federation.list = Some(list);
        config.oidc.providers = vec![super::oidc::Provider::example()];
        config.directories.ldap = vec![super::directories::ldap::Ldap::example()];
        config.directories.fhir = vec![super::directories::fhir::Fhir::example()];
        config.audit_export.syslog = vec![super::audit_export::Syslog::example()];
        config.audit_export.fhir = vec![super::audit_export::Fhir::example()];
        config.roles.claims = vec![super::roles::Claim::default()];
        config.listener = vec![Listener { tls, ..super::listener::default().remove(0) }];
        let mut expected = BTreeSet::new();
        keys(&toml::Table::try_from(&config).unwrap(), "", &mut expected);

        let mut shown = BTreeSet::new();
        let mut section = String::new();
        for line in EXAMPLE.lines() {
            let header = line.trim_start_matches("# ");
            if let Some(name) = header.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
                section = name.to_owned();
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
                && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            {
                shown.insert(format!("{section}.{key}"));
            }
        }
        assert_eq!(shown, expected);
    }

    #[test]
    fn clients_reach_the_server_by_its_name() {
        let url = |name: &str, public_url: &str| {
            let mut config = Config::named(name.try_into().unwrap());
            config.public_url = public_url.to_owned();
            config.public_url()
        };
        assert_eq!(url("a.example", ""), "https://a.example");
        assert_eq!(url("a.example:8448", ""), "https://a.example:8448");
        assert_eq!(url("localhost:8008", ""), "http://localhost:8008");
        assert_eq!(url("127.0.0.1:8008", ""), "http://127.0.0.1:8008");
        assert_eq!(url("[::1]:8008", ""), "http://[::1]:8008");
        assert_eq!(url("a.example", "https://matrix.a.example/"), "https://matrix.a.example");
    }
}
