//! `[audit_export]`

use std::{collections::BTreeSet, fs, io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;
use wardroom_atna::{Destination, FeedSettings, FhirFeed, SyslogFeed};

use super::listener::Tls;

/// Longest name of a destination, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Records in one request to a repository at most.
const BATCH_RECORDS_MAX: usize = 1_000;
/// Minutes until an alarm at most: a week.
const ALARM_MINUTES_MAX: u64 = 7 * 24 * 60;
const SECONDS_PER_MINUTE: u64 = 60;

/// The audit trail for other systems.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditExport {
    /// Where the FHIR API is reached; empty for below `public_url`.
    fhir_url: String,
    /// Whether repositories may be spoken to without TLS.
    allow_plain: bool,
    /// Repositories that take syslog messages.
    pub(crate) syslog: Vec<Syslog>,
    /// Repositories that take FHIR resources.
    pub(crate) fhir: Vec<Fhir>,
}

/// A repository that takes syslog messages over TLS.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Syslog {
    /// Short name, under which it is kept how far it is.
    name: String,
    /// Its name or address, as its certificate has it.
    host: String,
    #[serde(default = "default_port")]
    port: u16,
    /// Certificate authorities beyond the system's.
    #[serde(default)]
    extra_ca: Vec<PathBuf>,
    /// The certificate that this server shows.
    #[serde(default)]
    client_certificate: Option<Tls>,
    /// Minutes without success until there is an alarm.
    #[serde(default = "default_alarm_minutes")]
    alarm_minutes: u64,
}

/// A repository that takes FHIR resources.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fhir {
    /// Short name, under which it is kept how far it is.
    name: String,
    /// Where it is.
    url: String,
    /// A file with a token that goes with every request; empty for none.
    #[serde(default)]
    token_file: PathBuf,
    /// Certificate authorities beyond the system's.
    #[serde(default)]
    extra_ca: Vec<PathBuf>,
    /// Records in one request.
    #[serde(default = "default_batch_records")]
    batch_records: usize,
    /// Minutes without success until there is an alarm.
    #[serde(default = "default_alarm_minutes")]
    alarm_minutes: u64,
}

/// The port of syslog over TLS (RFC 5425).
const fn default_port() -> u16 {
    6_514
}

const fn default_alarm_minutes() -> u64 {
    15
}

const fn default_batch_records() -> usize {
    100
}

impl Syslog {
    /// One with every option.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        toml::from_str("name = \"x\"\nhost = \"x\"\nclient_certificate = { cert = \"x\", key = \"x\" }").unwrap()
    }
}

impl Fhir {
    /// One with every option.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        toml::from_str("name = \"y\"\nurl = \"https://x\"").unwrap()
    }

    fn url(&self) -> Option<Url> {
        web(&self.url)
    }
}

/// An address on the web without a query.
fn web(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    (url.has_host() && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

impl AuditExport {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.fhir_url.is_empty() && web(&self.fhir_url).is_none() {
            problems.push("audit_export.fhir_url: must be https:// or http:// with a host".to_owned());
        }
        let mut names = BTreeSet::new();
        for (index, syslog) in self.syslog.iter().enumerate() {
            let mut wrong =
                |key: &str, what: &str| problems.push(format!("audit_export.syslog[{index}].{key}: {what}"));
            check(&syslog.name, syslog.alarm_minutes, &mut names, &mut wrong);
            if syslog.host.is_empty() {
                wrong("host", "must not be empty");
            }
        }
        for (index, fhir) in self.fhir.iter().enumerate() {
            let mut wrong = |key: &str, what: &str| problems.push(format!("audit_export.fhir[{index}].{key}: {what}"));
            check(&fhir.name, fhir.alarm_minutes, &mut names, &mut wrong);
            match fhir.url() {
                None => wrong("url", "must be https:// with a host and a path"),
                Some(url) if url.scheme() == "http" && !self.allow_plain => {
                    wrong("url", "must be https://, unless audit_export.allow_plain is on");
                }
                Some(_) => {}
            }
            if !(1..=BATCH_RECORDS_MAX).contains(&fhir.batch_records) {
                wrong("batch_records", "must be from 1 to 1000");
            }
        }
        problems
    }

    pub(super) fn warnings(&self) -> Option<String> {
        let plain = self.allow_plain && !self.fhir.is_empty();
        plain.then(|| "audit_export.allow_plain: on, anybody on the way may read the audit trail".to_owned())
    }

    /// Files that are needed.
    pub(super) fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let mut files = Vec::new();
        for syslog in &self.syslog {
            files.extend(syslog.extra_ca.iter().map(|path| ("audit_export.syslog.extra_ca", path.clone())));
            let shown = syslog.client_certificate.iter().flat_map(|tls| [&tls.cert, &tls.key]);
            files.extend(shown.map(|path| ("audit_export.syslog.client_certificate", path.clone())));
        }
        for fhir in &self.fhir {
            files.extend(fhir.extra_ca.iter().map(|path| ("audit_export.fhir.extra_ca", path.clone())));
            files.extend(fhir.token_file().map(|path| ("audit_export.fhir.token_file", path)));
        }
        files
    }

    /// Where the FHIR API is reached, without a slash at the end.
    pub(crate) fn fhir_url(&self, public_url: &str) -> String {
        match self.fhir_url.trim_end_matches('/') {
            "" => format!("{public_url}/_wardroom/fhir"),
            given => given.to_owned(),
        }
    }

    /// Where the trail goes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn feeds(&self) -> io::Result<Vec<FeedSettings>> {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(SECONDS_PER_MINUTE));
        let mut feeds = Vec::new();
        for syslog in &self.syslog {
            let client_certificate = match &syslog.client_certificate {
                Some(Tls { cert, key }) => Some((fs::read(cert)?, fs::read(key)?)),
                None => None,
            };
            let destination = Destination::Syslog(SyslogFeed {
                host: syslog.host.clone(),
                port: syslog.port,
                extra_ca: read(&syslog.extra_ca)?,
                client_certificate,
            });
            let alarm_after = minutes(syslog.alarm_minutes);
            feeds.push(FeedSettings { name: syslog.name.clone(), destination, alarm_after });
        }
        for fhir in &self.fhir {
            let Some(url) = fhir.url() else { continue };
            let destination = Destination::Fhir(FhirFeed {
                url,
                token_file: fhir.token_file(),
                extra_ca: read(&fhir.extra_ca)?,
                batch_records: fhir.batch_records,
            });
            feeds.push(FeedSettings { name: fhir.name.clone(), destination, alarm_after: minutes(fhir.alarm_minutes) });
        }
        Ok(feeds)
    }
}

impl Fhir {
    fn token_file(&self) -> Option<PathBuf> {
        Some(self.token_file.clone()).filter(|path| !path.as_os_str().is_empty())
    }
}

fn read(paths: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    paths.iter().map(fs::read).collect()
}

fn check<'a>(name: &'a str, alarm_minutes: u64, names: &mut BTreeSet<&'a str>, wrong: &mut impl FnMut(&str, &str)) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        wrong("name", "must be letters, digits, - and _, 64 of them at most");
    }
    if !names.insert(name) {
        wrong("name", "another destination has the same");
    }
    if !(1..=ALARM_MINUTES_MAX).contains(&alarm_minutes) {
        wrong("alarm_minutes", "must be from 1 to 10080");
    }
}

#[cfg(test)]
mod tests {
    use super::AuditExport;

    fn problems(text: &str) -> Vec<String> {
        toml::from_str::<AuditExport>(text).unwrap().problems()
    }

    #[test]
    fn what_cannot_work_is_told() {
        let good = "fhir_url = \"https://fhir.a.example/\"\nsyslog = [{ name = \"a\", host = \"b\" }]\n\
                    fhir = [{ name = \"b\", url = \"https://b/fhir\" }]";
        assert_eq!(problems(good), Vec::<String>::new());
        for (text, key) in [
            ("fhir_url = \"fhir\"", "audit_export.fhir_url"),
            ("syslog = [{ name = \"a b\", host = \"b\" }]", "audit_export.syslog[0].name"),
            ("syslog = [{ name = \"a\", host = \"\" }]", "audit_export.syslog[0].host"),
            ("syslog = [{ name = \"a\", host = \"b\", alarm_minutes = 0 }]", "audit_export.syslog[0].alarm_minutes"),
            ("fhir = [{ name = \"a\", url = \"http://b\" }]", "audit_export.fhir[0].url"),
            ("fhir = [{ name = \"a\", url = \"https://b?c\" }]", "audit_export.fhir[0].url"),
            ("fhir = [{ name = \"a\", url = \"https://b\", batch_records = 0 }]", "audit_export.fhir[0].batch_records"),
            (
                "syslog = [{ name = \"a\", host = \"b\" }]\nfhir = [{ name = \"a\", url = \"https://b\" }]",
                "audit_export.fhir[0].name",
            ),
        ] {
            assert!(problems(text)[0].starts_with(key), "{text}: {:?}", problems(text));
        }
        assert_eq!(problems("allow_plain = true\nfhir = [{ name = \"a\", url = \"http://b\" }]"), Vec::<String>::new());
    }

    #[test]
    fn the_fhir_api_is_below_the_public_url_unless_told() {
        let url = |text: &str| toml::from_str::<AuditExport>(text).unwrap().fhir_url("https://a.example");
        assert_eq!(url(""), "https://a.example/_wardroom/fhir");
        assert_eq!(url("fhir_url = \"https://f.a.example/\""), "https://f.a.example");
    }
}
