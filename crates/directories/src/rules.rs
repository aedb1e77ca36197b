//! What gives roles, and what says that somebody is gone.

use wardroom_care::Role;

use crate::ldap::{EntryName, folded};

/// Whoever has all that is named has a role. Names and values are compared in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapRule {
    /// Members of this group: its whole name (RFC 4514), or the value of the first part of it, such as its `cn`.
    pub group: Option<String>,
    /// Entries that have this attribute.
    pub attribute: Option<String>,
    /// With this value; none where its values are roles themselves, in their canonical form.
    pub value: Option<String>,
    /// The role; none where the values are.
    pub gives: Option<Role>,
}

/// An attribute of somebody who is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InactiveRule {
    /// Its name, as in `nsAccountLock`.
    pub attribute: String,
    /// How it has to be.
    pub is: InactiveIf,
}

/// How an attribute has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InactiveIf {
    /// It has some value.
    Present,
    /// It has this one, in any case.
    Value(String),
    /// It is a number with one of these bits, as in `userAccountControl` of Active Directory.
    Bits(u32),
}

impl InactiveIf {
    pub(crate) fn is_met_by<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Present => values.next().is_some(),
            Self::Value(wanted) => values.any(|value| folded(value) == folded(wanted)),
            Self::Bits(bits) => {
                // Active Directory writes it as a signed number.
                let number = |value: &str| value.trim().parse::<i64>().ok();
                values.filter_map(number).any(|number| number & i64::from(*bits) != 0)
            }
        }
    }
}

/// The group of a rule.
#[derive(Clone, Debug)]
pub(crate) enum GroupName {
    Whole(EntryName),
    First(String),
}

impl GroupName {
    pub(crate) fn of(text: &str) -> Self {
        EntryName::parse(text).map_or_else(|| Self::First(folded(text)), Self::Whole)
    }

    pub(crate) fn is(&self, group: &EntryName) -> bool {
        match self {
            Self::Whole(name) => name == group,
            Self::First(name) => name == group.first_value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupName, InactiveIf};
    use crate::ldap::EntryName;

    #[test]
    fn those_who_are_gone_are_known() {
        let met = |is: InactiveIf, values: &[&str]| is.is_met_by(values.iter().copied());
        assert!(met(InactiveIf::Present, &["x"]) && !met(InactiveIf::Present, &[]));
        assert!(met(InactiveIf::Value("TRUE".to_owned()), &["true"]));
        assert!(!met(InactiveIf::Value("true".to_owned()), &["false"]));
        assert!(met(InactiveIf::Bits(2), &["514"]) && !met(InactiveIf::Bits(2), &["512"]));
        assert!(!met(InactiveIf::Bits(2), &["x"]));
    }

    #[test]
    fn groups_are_named_whole_or_by_their_first_part() {
        let icu = EntryName::parse("cn=ICU Physicians,ou=groups,dc=h1").unwrap();
        assert!(GroupName::of("icu physicians").is(&icu));
        assert!(GroupName::of("CN=icu physicians, OU=Groups, DC=h1").is(&icu));
        assert!(!GroupName::of("cn=icu physicians,dc=h1").is(&icu) && !GroupName::of("icu").is(&icu));
    }
}
