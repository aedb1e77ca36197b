//! What the configuration makes of the directory's resources: names and roles of users.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wardroom_care::{ROLES_PER_SOURCE_MAX, Role};

use crate::{ScimError, filter::folded, schema::ENTERPRISE_URN};

/// What becomes the local part of a user's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalpartRule {
    /// `userName`.
    #[default]
    UserName,
    /// `userName` up to its `@`.
    UserNameBeforeAt,
    /// `externalId`.
    ExternalId,
}

/// Whoever has all that is named has a role. Names are compared in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// Members of a group of this name.
    pub group: Option<String>,
    /// Users with this role in the directory.
    pub role: Option<String>,
    /// Users of this department.
    pub department: Option<String>,
    /// Users of this organisation.
    pub organization: Option<String>,
    /// The role that they have here.
    pub gives: Role,
}

impl LocalpartRule {
    /// The local part of the id of a new user. What cannot stand in one is written as the specification says that other
    /// names are brought into ids (appendix "Mapping from other character sets"): `=` and two hexadecimal digits.
    pub(crate) fn localpart(self, user: &Map<String, Value>) -> Result<String, ScimError> {
        let text = |name: &str| user.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = match self {
            Self::UserName => text("userName"),
            Self::UserNameBeforeAt => text("userName").split('@').next().unwrap_or_default(),
            Self::ExternalId => text("externalId"),
        };
        if name.is_empty() {
            let field = if self == Self::ExternalId { "externalId" } else { "userName" };
            let sentence = format!("{field}: is missing; this server makes the user's id from it.");
            return Err(ScimError::InvalidValue(sentence));
        }
        let mut localpart = String::with_capacity(name.len());
        for byte in folded(name).bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' | b'+' => localpart.push(char::from(byte)),
                // Writing to a String does not fail.
                _ => drop(write!(localpart, "={byte:02x}")),
            }
        }
        Ok(localpart)
    }
}

/// Names of a user's groups, roles and so on, as they are compared.
struct Facts {
    groups: Vec<String>,
    roles: Vec<String>,
    department: String,
    organization: String,
}

impl RoleRule {
    /// As administrators see it.
    pub(crate) fn shown(&self) -> Value {
        let Self { group, role, department, organization, gives } = self;
        let gives = gives.to_string();
        json!({ "group": group, "role": role, "department": department, "organization": organization, "gives": gives })
    }

    fn is_met_by(&self, facts: &Facts) -> bool {
        let in_list = |wanted: &Option<String>, list: &[String]| {
            wanted.as_ref().is_none_or(|wanted| list.contains(&folded(wanted)))
        };
        let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| folded(wanted) == text);
        in_list(&self.group, &facts.groups)
            && in_list(&self.role, &facts.roles)
            && is(&self.department, &facts.department)
            && is(&self.organization, &facts.organization)
    }
}

/// The roles of a user, in order, each once, with why; at most as many as a source can give. `mapped` tells what else a
/// name of a group or role means.
pub(crate) fn roles_of(
    user: &Map<String, Value>,
    groups: &[&str],
    (rules, accept_canonical): (&[RoleRule], bool),
    mapped: impl Fn(&str) -> Vec<Role>,
) -> Vec<(Role, String)> {
    let roles: Vec<&str> = user
        .get("roles")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|role| role["value"].as_str())
        .collect();
    let of_extension = |name: &str| {
        let value = user.get(ENTERPRISE_URN).and_then(|extension| extension[name].as_str());
        folded(value.unwrap_or_default())
    };
    let facts = Facts {
        groups: groups.iter().map(|name| folded(name)).collect(),
        roles: roles.iter().map(|name| folded(name)).collect(),
        department: of_extension("department"),
        organization: of_extension("organization"),
    };
    let mut given: Vec<(Role, String)> = Vec::new();
    for name in groups.iter().chain(&roles) {
        given.extend(mapped(name).into_iter().map(|role| (role, format!("of the directory: alias of \"{name}\""))));
    }
    for rule in rules.iter().filter(|rule| rule.is_met_by(&facts)) {
        let named = [("group", &rule.group), ("role", &rule.role), ("department", &rule.department)];
        let named = named.into_iter().chain([("organization", &rule.organization)]);
        let why: Vec<String> =
            named.filter_map(|(what, name)| Some(format!("{what} \"{}\"", name.as_ref()?))).collect();
        given.push((rule.gives.clone(), format!("of the directory: {}", why.join(", "))));
    }
    if accept_canonical {
        let canonical = roles.iter().filter_map(|role| Role::parse(role).ok());
        given.extend(canonical.map(|role| (role, "of the directory".to_owned())));
    }
    given.sort();
    given.dedup_by(|a, b| a.0 == b.0);
    given.truncate(ROLES_PER_SOURCE_MAX);
    given
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use wardroom_care::Role;

    use super::{LocalpartRule, RoleRule, roles_of};
    use crate::ENTERPRISE_URN;

    fn user(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn ids_are_made_from_names() {
        let alice = user(&json!({ "userName": "Alice@H1.example", "externalId": "E 7" }));
        assert_eq!(LocalpartRule::UserName.localpart(&alice).unwrap(), "alice=40h1.example");
        assert_eq!(LocalpartRule::UserNameBeforeAt.localpart(&alice).unwrap(), "alice");
        assert_eq!(LocalpartRule::ExternalId.localpart(&alice).unwrap(), "e=207");
        for rule in [LocalpartRule::UserName, LocalpartRule::UserNameBeforeAt, LocalpartRule::ExternalId] {
            assert!(rule.localpart(&user(&json!({ "userName": "" }))).is_err());
        }
    }

    #[test]
    fn rules_give_roles() {
        let rule = |group: Option<&str>, role: Option<&str>, department: Option<&str>, gives: &str| RoleRule {
            group: group.map(str::to_owned),
            role: role.map(str::to_owned),
            department: department.map(str::to_owned),
            organization: None,
            gives: Role::parse(gives).unwrap(),
        };
        let rules = [
            rule(Some("ICU Physicians"), None, None, "physician@h1/icu"),
            rule(None, Some("nurse"), None, "nurse@h1"),
            rule(None, Some("nurse"), Some("ICU"), "nurse@h1/icu"),
            rule(Some("other"), Some("nurse"), None, "never@h1"),
        ];
        let alice = user(&json!({
            "roles": [{ "value": "Nurse" }, { "value": "pharmacist@h1" }, { "value": "no role" }],
            ENTERPRISE_URN: { "department": "icu" },
        }));
        let roles = |accept| {
            let mapped = |name: &str| match name {
                "icu physicians" => vec![Role::parse("staff@h1").unwrap(), Role::parse("nurse@h1").unwrap()],
                _ => Vec::new(),
            };
            let roles = roles_of(&alice, &["icu physicians"], (&rules, accept), mapped);
            roles.into_iter().map(|(role, _)| role.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(roles(false), ["nurse@h1", "nurse@h1/icu", "physician@h1/icu", "staff@h1"]);
        assert_eq!(roles(true), ["nurse@h1", "nurse@h1/icu", "pharmacist@h1", "physician@h1/icu", "staff@h1"]);
    }

    proptest! {
        #[test]
        fn every_name_becomes_something_that_an_id_can_have(name in "\\PC{1,40}") {
            let localpart = LocalpartRule::UserName.localpart(&user(&json!({ "userName": name }))).unwrap();
            prop_assert!(localpart.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b'@'));
        }
    }
}
