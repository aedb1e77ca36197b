//! `[audit]`

use serde::{Deserialize, Serialize};
use wardroom_audit::{AuditSettings, OnFailure};

/// Years for which records are kept at least (45 CFR 164.316(b)(2)).
const YEARS_MIN: u32 = 6;

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// What happens to a request whose record cannot be written.
    pub(crate) on_failure: Failing,
    /// Years for which records are kept; 0 keeps them for ever.
    pub(crate) retention_years: u32,
    /// Whether they may be kept for less than six years.
    pub(crate) allow_short_retention: bool,
    /// The longest time that new records wait for a signed checkpoint.
    pub(crate) checkpoint_seconds: u32,
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
            retention_years: YEARS_MIN,
            allow_short_retention: false,
            checkpoint_seconds: 60,
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
            checkpoint_seconds: self.checkpoint_seconds,
            retention_years: Some(self.retention_years).filter(|years| *years > 0),
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
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
        if (1..YEARS_MIN).contains(&self.retention_years) {
            warnings
                .push("audit.retention_years: below 6, records go before the law allows it in many places".to_owned());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::Audit;

    #[test]
    fn short_retention_is_said_twice() {
        let short = Audit { retention_years: 5, ..Audit::default() };
        assert!(short.problems()[0].starts_with("audit.retention_years:"));
        let meant = Audit { allow_short_retention: true, ..short };
        assert!(meant.problems().is_empty() && meant.warnings().len() == 1);
        let ever = Audit { retention_years: 0, ..Audit::default() };
        assert!(ever.problems().is_empty() && ever.settings("a.example").retention_years.is_none());
        assert!(!Audit { checkpoint_seconds: 0, ..Audit::default() }.problems().is_empty());
    }
}
