//! `[audit]`

use std::time::Duration;

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use wardroom_audit::{AuditSettings, KeyKind, NoteKey, OnFailure, origin_of, witness_of};
use wardroom_federation::WitnessSettings;

/// Years for which records are kept at least (45 CFR 164.316(b)(2)).
const YEARS_MIN: u32 = 6;
/// Servers that may witness this one's trail, or be witnessed by it.
const WITNESSES_MAX: usize = 50;
/// The longest time between two looks at a partner's trail, in seconds: an hour.
const WITNESS_SECONDS_MAX: u32 = 60 * 60;

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// What happens to a request whose record cannot be written.
    pub(crate) on_failure: Failing,
    /// Whether reads are recorded durably before they are answered.
    pub(crate) reads_before_answers: bool,
    /// Years for which records are kept; 0 keeps them for ever.
    pub(crate) retention_years: u32,
    /// Whether they may be kept for less than six years.
    pub(crate) allow_short_retention: bool,
    /// The longest time that new records wait for a signed checkpoint.
    pub(crate) checkpoint_seconds: u32,
    /// Servers whose audit trails this one looks at and cosigns.
    pub(crate) witness_for: Vec<OwnedServerName>,
    /// How often, in seconds.
    pub(crate) witness_every_seconds: u32,
    /// Servers that cosign this one's trail.
    pub(crate) witnesses: Vec<OwnedServerName>,
    /// Keys of those trails and witnesses that are known, as signed notes write them.
    pub(crate) known_keys: Vec<String>,
}

/// As [`OnFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Failing {
    Refuse,
    Continue,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            on_failure: Failing::Refuse,
            reads_before_answers: true,
            retention_years: YEARS_MIN,
            allow_short_retention: false,
            checkpoint_seconds: 60,
            witness_for: Vec::new(),
            witness_every_seconds: 300,
            witnesses: Vec::new(),
            known_keys: Vec::new(),
        }
    }
}

impl Audit {
    /// How the trail of this server is kept.
    pub(crate) fn settings(&self, server_name: &str) -> AuditSettings {
        AuditSettings {
            server_name: server_name.to_owned(),
            on_failure: match self.on_failure {
                Failing::Refuse => OnFailure::Refuse,
                Failing::Continue => OnFailure::Continue,
            },
            reads_before_answers: self.reads_before_answers,
            checkpoint_seconds: self.checkpoint_seconds,
            retention_years: Some(self.retention_years).filter(|years| *years > 0),
        }
    }

    /// Who witnesses whose trail. Keys that are none were found by [`Audit::problems`].
    pub(crate) fn witness_settings(&self) -> WitnessSettings {
        WitnessSettings {
            watches: self.witness_for.clone(),
            every: Duration::from_secs(self.witness_every_seconds.into()),
            witnesses: self.witnesses.clone(),
            keys: self.known_keys.iter().filter_map(|key| NoteKey::parse(key).ok()).collect(),
        }
    }

    fn witness_problems(&self, own_name: &ServerName, federates: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, servers) in [("witness_for", &self.witness_for), ("witnesses", &self.witnesses)] {
            if servers.iter().any(|server| server == own_name) {
                problems.push(format!("audit.{name}: must not name this server"));
            }
            if servers.len() > WITNESSES_MAX {
                problems.push(format!("audit.{name}: must not name more than {WITNESSES_MAX} servers"));
            }
            if !servers.is_empty() && !federates {
                problems.push(format!("audit.{name}: needs federation.enabled"));
            }
        }
        if !(1..=WITNESS_SECONDS_MAX).contains(&self.witness_every_seconds) {
            problems.push("audit.witness_every_seconds: must be at least 1 and at most an hour".to_owned());
        }
        for key in &self.known_keys {
            let known = NoteKey::parse(key).is_ok_and(|key| match key.kind {
                KeyKind::Log => self.witness_for.iter().any(|server| key.name == origin_of(server.as_str())),
                KeyKind::Witness => self.witnesses.iter().any(|server| key.name == witness_of(server.as_str())),
            });
            if !known {
                problems.push(format!(
                    "audit.known_keys: {key:?} is no key of a trail in witness_for or of a witness in witnesses"
                ));
            }
        }
        problems
    }

    pub(super) fn problems(&self, own_name: &ServerName, federates: bool) -> Vec<String> {
        let mut problems = self.witness_problems(own_name, federates);
        if (1..YEARS_MIN).contains(&self.retention_years) && !self.allow_short_retention {
            let sentence =
                "audit.retention_years: must be 0 (for ever) or at least 6, unless audit.allow_short_retention is true";
            problems.push(sentence.to_owned());
        }
        if self.retention_years > 1_000 {
            problems.push("audit.retention_years: must be at most 1000; 0 is for ever".to_owned());
        }
        if !(1..=24 * 60 * 60).contains(&self.checkpoint_seconds) {
            problems.push("audit.checkpoint_seconds: must be at least 1 and at most a day".to_owned());
        }
        problems
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.on_failure == Failing::Continue {
            let sentence = "audit.on_failure: \"continue\", what cannot be recorded is done all the same";
            warnings.push(sentence.to_owned());
        }
        if !self.reads_before_answers {
            let sentence =
                "audit.reads_before_answers: false, a crash can lose the records of what was read in its last moment";
            warnings.push(sentence.to_owned());
        }
        if (1..YEARS_MIN).contains(&self.retention_years) {
            warnings
                .push("audit.retention_years: below 6, records go before the law allows it in many places".to_owned());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use wardroom_audit::{KeyKind, NoteSigner};

    use super::Audit;

    fn problems(audit: &Audit) -> Vec<String> {
        audit.problems(server_name!("a.example"), true)
    }

    #[test]
    fn short_retention_is_said_twice() {
        let short = Audit { retention_years: 5, ..Audit::default() };
        assert!(problems(&short)[0].starts_with("audit.retention_years:"));
        let meant = Audit { allow_short_retention: true, ..short };
        assert!(problems(&meant).is_empty() && meant.warnings().len() == 1);
        let ever = Audit { retention_years: 0, ..Audit::default() };
        assert!(problems(&ever).is_empty() && ever.settings("a.example").retention_years.is_none());
        assert!(!problems(&Audit { checkpoint_seconds: 0, ..Audit::default() }).is_empty());
    }

    #[test]
    fn witnesses_are_others_and_keys_are_theirs() {
        let log = NoteSigner::new("b.example/wardroom/audit".to_owned(), &[1; 32]);
        let witness = NoteSigner::new("c.example/wardroom/witness".to_owned(), &[2; 32]);
        let keys = vec![log.key().to_string(), witness.key().for_kind(KeyKind::Witness).to_string()];
        let (b, c) = (server_name!("b.example").to_owned(), server_name!("c.example").to_owned());
        let audit = Audit { witness_for: vec![b.clone()], witnesses: vec![c], known_keys: keys, ..Audit::default() };
        assert_eq!(problems(&audit), Vec::<String>::new());
        assert_eq!(audit.witness_settings().keys.len(), 2);
        assert_eq!(audit.problems(server_name!("a.example"), false).len(), 2);
        assert_eq!(audit.problems(&b, true), ["audit.witness_for: must not name this server"]);
        let wrong = Audit { witnesses: Vec::new(), witness_every_seconds: 0, ..audit };
        let said = problems(&wrong);
        assert!(
            said[0].starts_with("audit.witness_every_seconds:") && said[1].starts_with("audit.known_keys:"),
            "{said:?}"
        );
    }
}
