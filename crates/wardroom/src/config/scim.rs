//! `[scim]`

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wardroom_care::Role;
use wardroom_provisioning::{LocalpartRule, RoleRule};
use wardroom_scim_api::{Token, TokenError};

/// The directory that pushes users, groups and roles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Scim {
    /// Who may push.
    pub(crate) token: Vec<TokenHash>,
    /// A file with further tokens; empty for none.
    tokens_file: PathBuf,
    /// What becomes the local part of a new user's id.
    localpart: Localpart,
    /// Take roles as they are that have the form of this server's.
    pub(crate) accept_canonical_roles: bool,
    /// What else gives roles.
    roles: Vec<Rule>,
    /// Users who are not active stay in the rooms that require no role.
    pub(crate) inactive_users_stay_in_rooms: bool,
}

/// A token by its hash.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenHash {
    name: String,
    sha256: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Localpart {
    #[default]
    UserName,
    UserNameBeforeAt,
    ExternalId,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    department: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    gives: String,
}

impl Rule {
    fn names_something(&self) -> bool {
        [&self.group, &self.role, &self.department, &self.organization].into_iter().any(Option::is_some)
    }
}

impl Scim {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for token in &self.token {
            if let Err(error) = Token::of_hash(&token.name, &token.sha256) {
                problems.push(format!("scim.token: {}: {error}", token.name));
            }
        }
        for (index, rule) in self.roles.iter().enumerate() {
            let number = index + 1;
            if !rule.names_something() {
                let names = "group, role, department or organization";
                problems.push(format!("scim.roles: rule {number} must name a {names}"));
            }
            if let Err(error) = Role::parse(&rule.gives) {
                problems.push(format!("scim.roles: gives of rule {number} {error}"));
            }
        }
        problems
    }

    /// Whether somebody may push.
    pub(crate) fn is_on(&self) -> bool {
        !self.token.is_empty() || self.tokens_file().is_some()
    }

    /// The file with further tokens.
    pub(crate) fn tokens_file(&self) -> Option<&PathBuf> {
        Some(&self.tokens_file).filter(|path| **path != Path::new(""))
    }

    /// Every token, with those of the file's text.
    pub(crate) fn tokens(&self, file: &str) -> Result<Vec<Token>, TokenError> {
        let mut tokens = Token::of_file(file)?;
        for token in &self.token {
            tokens.push(Token::of_hash(&token.name, &token.sha256)?);
        }
        Ok(tokens)
    }

    /// What the ids of new users are made from.
    pub(crate) fn localpart(&self) -> LocalpartRule {
        match self.localpart {
            Localpart::UserName => LocalpartRule::UserName,
            Localpart::UserNameBeforeAt => LocalpartRule::UserNameBeforeAt,
            Localpart::ExternalId => LocalpartRule::ExternalId,
        }
    }

    /// What gives roles.
    pub(crate) fn rules(&self) -> Vec<RoleRule> {
        let rule = |rule: &Rule| {
            Some(RoleRule {
                group: rule.group.clone(),
                role: rule.role.clone(),
                department: rule.department.clone(),
                organization: rule.organization.clone(),
                gives: Role::parse(&rule.gives).ok()?,
            })
        };
        self.roles.iter().filter(|rule| rule.names_something()).filter_map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Scim;

    fn problems(text: &str) -> Vec<String> {
        toml::from_str::<Scim>(text).unwrap().problems()
    }

    #[test]
    fn what_cannot_work_is_told() {
        assert_eq!(problems(""), Vec::<String>::new());
        assert_eq!(problems("roles = [{ group = \"x\", gives = \"a@b/c\" }]"), Vec::<String>::new());
        for (text, key) in [
            ("roles = [{ gives = \"a@b\" }]", "scim.roles"),
            ("roles = [{ group = \"x\", gives = \"nothing\" }]", "scim.roles"),
            ("token = [{ name = \"x\", sha256 = \"y\" }]", "scim.token"),
        ] {
            assert!(problems(text)[0].starts_with(key), "{text}");
        }
    }

    #[test]
    fn tokens_come_from_both_places() {
        let hash = "0".repeat(64);
        let scim: Scim = toml::from_str(&format!("token = [{{ name = \"a\", sha256 = \"{hash}\" }}]")).unwrap();
        assert!(scim.is_on() && !Scim::default().is_on());
        let names: Vec<_> =
            scim.tokens(&format!("b {hash}")).unwrap().iter().map(|token| token.name().to_owned()).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
