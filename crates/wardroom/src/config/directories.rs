//! `[directories]`

pub(crate) mod fhir;
pub(crate) mod ldap;

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};

use self::{fhir::Fhir, ldap::Ldap};

/// Longest name of a source, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How long at most may pass between two readings, in seconds.
const POLL_SECONDS_MAX: u64 = 3_600;
/// Longest time for a connection or a piece of an answer, in seconds.
const TIMEOUT_SECONDS_MAX: u64 = 300;

/// Directories that this server reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Directories {
    /// Whether they may be spoken to without TLS.
    pub(crate) allow_plain: bool,
    /// Certificate authorities beyond the system's.
    pub(crate) extra_ca: Vec<PathBuf>,
    /// Directories read over LDAP.
    pub(crate) ldap: Vec<Ldap>,
    /// Directories of practitioners and their roles.
    pub(crate) fhir: Vec<Fhir>,
}

impl Directories {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for (index, source) in self.ldap.iter().enumerate() {
            let mut wrong = |key: &str, what: &str| problems.push(format!("directories.ldap[{index}].{key}: {what}"));
            check_name(&source.name, &mut names, &mut wrong);
            check_times(source.poll_seconds, source.timeout_seconds, &mut wrong);
            source.check(self.allow_plain, &mut wrong);
        }
        for (index, source) in self.fhir.iter().enumerate() {
            let mut wrong = |key: &str, what: &str| problems.push(format!("directories.fhir[{index}].{key}: {what}"));
            check_name(&source.name, &mut names, &mut wrong);
            check_times(source.poll_seconds, source.timeout_seconds, &mut wrong);
            source.check(self.allow_plain, &mut wrong);
        }
        problems
    }

    pub(super) fn warnings(&self) -> Option<String> {
        let plain = self.allow_plain && !(self.ldap.is_empty() && self.fhir.is_empty());
        plain.then(|| "directories.allow_plain: on, anybody on the way may give roles to anybody".to_owned())
    }

    /// Files that are needed.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let authorities = self.extra_ca.iter().map(|path| ("directories.extra_ca", path.clone()));
        let passwords = self.ldap.iter().filter_map(Ldap::bind_password_file);
        let tokens = self.fhir.iter().filter_map(Fhir::token_file);
        authorities
            .chain(passwords.map(|path| ("directories.ldap.bind_password_file", path.clone())))
            .chain(tokens.map(|path| ("directories.fhir.token_file", path.clone())))
    }
}

fn check_name<'a>(name: &'a str, names: &mut BTreeSet<&'a str>, wrong: &mut impl FnMut(&str, &str)) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        wrong("name", "must be letters, digits, - and _, 64 of them at most");
    }
    if !names.insert(name) {
        wrong("name", "another directory has the same");
    }
}

fn check_times(poll_seconds: u64, timeout_seconds: u64, wrong: &mut impl FnMut(&str, &str)) {
    if !(1..=POLL_SECONDS_MAX).contains(&poll_seconds) {
        wrong("poll_seconds", "must be from 1 to 3600");
    }
    if !(1..=TIMEOUT_SECONDS_MAX).contains(&timeout_seconds) {
        wrong("timeout_seconds", "must be from 1 to 300");
    }
}

#[cfg(test)]
mod tests {
    use super::Directories;

    const GOOD: &str = "name = \"staff\"\nurl = \"ldaps://ldap.h1.example\"\nbase = \"dc=h1\"\n";

    const REGISTRY: &str =
        "name = \"staff\"\nbase_url = \"https://ehr.h1.example/fhir\"\nidentifier_system = \"urn:staff\"\n";

    fn problems(before: &str, ldap: &str) -> Vec<String> {
        let text = format!("{before}\n[[ldap]]\n{ldap}");
        toml::from_str::<Directories>(&text).unwrap_or_else(|error| panic!("{text}: {error}")).problems()
    }

    #[test]
    fn what_can_work_is_taken() {
        assert_eq!(problems("", GOOD), Vec::<String>::new());
        assert_eq!(problems("", &GOOD.replace("ldaps", "ldap").replace("base", "start_tls = true\nbase")), [""; 0]);
        assert_eq!(problems("allow_plain = true", &GOOD.replace("ldaps", "ldap")), [""; 0]);
        for rule in [
            "roles = [{ group = \"icu\", gives = \"a@b\" }, { attribute = \"title\", value = \"x\", gives = \"a@b\" }]",
            "roles = [{ group = \"icu\", attribute = \"roles\" }]",
            "inactive = [{ attribute = \"nsAccountLock\" }, { attribute = \"userAccountControl\", bits = 2 }]",
        ] {
            assert_eq!(problems("", &format!("{GOOD}{rule}")), [""; 0], "{rule}");
        }
    }

    #[test]
    fn what_cannot_work_is_told() {
        for (ldap, key) in [
            (GOOD.replace("staff", "the staff"), "name"),
            (GOOD.replace("ldaps:", "https:"), "url"),
            (GOOD.replace("ldaps:", "ldap:"), "url"),
            (GOOD.replace("h1.example", "h1.example/dc=x"), "url"),
            (format!("{GOOD}start_tls = true"), "start_tls"),
            (format!("{GOOD}bind_dn = \"cn=x\""), "bind_password_file"),
            (GOOD.replace("dc=h1", ""), "base"),
            (format!("{GOOD}filter = \"person\""), "filter"),
            (format!("{GOOD}localpart_attribute = \"\""), "localpart_attribute"),
            (format!("{GOOD}groups_base = \"dc=h1\"\ngroups_filter = \"x\""), "groups_filter"),
            (format!("{GOOD}roles = [{{ gives = \"a@b\" }}]"), "roles"),
            (format!("{GOOD}roles = [{{ group = \"x\" }}]"), "roles"),
            (format!("{GOOD}roles = [{{ group = \"x\", gives = \"x\" }}]"), "roles"),
            (format!("{GOOD}roles = [{{ attribute = \"x\", gives = \"a@b\" }}]"), "roles"),
            (format!("{GOOD}roles = [{{ group = \"x\", value = \"x\", gives = \"a@b\" }}]"), "roles"),
            (format!("{GOOD}inactive = [{{ attribute = \"x\", value = \"x\", bits = 2 }}]"), "inactive"),
            (format!("{GOOD}poll_seconds = 0"), "poll_seconds"),
            (format!("{GOOD}timeout_seconds = 301"), "timeout_seconds"),
            (format!("{GOOD}page_size = 0"), "page_size"),
        ] {
            let problems = problems("", &ldap);
            let expected = format!("directories.ldap[0].{key}");
            assert!(problems.iter().any(|problem| problem.starts_with(&expected)), "{ldap}: {problems:?}");
        }
        let twice = problems("", &format!("{GOOD}[[ldap]]\n{GOOD}"));
        assert_eq!(twice, ["directories.ldap[1].name: another directory has the same"]);
        let both = problems("", &format!("{GOOD}[[fhir]]\n{REGISTRY}"));
        assert_eq!(both, ["directories.fhir[0].name: another directory has the same"]);
    }

    #[test]
    fn what_cannot_work_of_fhir_is_told() {
        let problems = |fhir: &str| toml::from_str::<Directories>(&format!("[[fhir]]\n{fhir}")).unwrap().problems();
        let maps = "organizations = { \"Organization/1\" = \"h1\" }\ncodes = { \"urn:sct|1\" = \"physician\" }\n\
                    units = { \"Location/1\" = \"icu\" }";
        for good in [REGISTRY.to_owned(), format!("{REGISTRY}{maps}"), REGISTRY.replace("/fhir", "/fhir/r4/")] {
            assert_eq!(problems(&good), [""; 0], "{good}");
        }
        for (fhir, key) in [
            (REGISTRY.replace("https", "http"), "base_url"),
            (REGISTRY.replace("https", "ldap"), "base_url"),
            (REGISTRY.replace("/fhir", "/fhir?x=y"), "base_url"),
            (REGISTRY.replace("urn:staff", ""), "identifier_system"),
            (format!("{REGISTRY}default_organization = \"h 1\""), "default_organization"),
            (format!("{REGISTRY}organizations = {{ x = \"h/1\" }}"), "organizations"),
            (format!("{REGISTRY}codes = {{ physician = \"physician\" }}"), "codes"),
            (format!("{REGISTRY}codes = {{ \"a|b\" = \"a@b\" }}"), "codes"),
            (format!("{REGISTRY}units = {{ x = \"\" }}"), "units"),
            (format!("{REGISTRY}full_every_hours = 0"), "full_every_hours"),
        ] {
            let problems = problems(&fhir);
            let expected = format!("directories.fhir[0].{key}");
            assert!(problems.iter().any(|problem| problem.starts_with(&expected)), "{fhir}: {problems:?}");
        }
    }
}
