//! Roles, and what a room can require of them.

use std::fmt;

/// Longest role or requirement, in bytes.
pub const ROLE_BYTES_MAX: usize = 255;

/// Why a text names no role, or requires none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// It is empty, or longer than [`ROLE_BYTES_MAX`].
    #[error("is empty or longer than 255 bytes")]
    Length,
    /// There is no `@`, or a part is empty.
    #[error("is not of the form code@organisation or code@organisation/unit")]
    Form,
    /// A part has a character that parts cannot have.
    #[error("has a character that roles cannot have: spaces, control characters, @, /, * and : are kept apart")]
    Character,
}

/// What somebody is in an organisation, or in one of its units: `code@organisation` or `code@organisation/unit`, such as
/// `physician@h1/cardiology`. Codes are those of the organisation's own directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role {
    code: Box<str>,
    organisation: Box<str>,
    unit: Option<Box<str>>,
}

impl Role {
    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`RoleError`].
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        let (code, organisation, unit) = parts(text)?;
        for part in [Some(code), Some(organisation), unit].into_iter().flatten() {
            check_part(part)?;
        }
        Ok(Self { code: code.into(), organisation: organisation.into(), unit: unit.map(Into::into) })
    }

    /// What the holder is, such as `physician`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Where, such as `h1`.
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// In which unit of it; none where the role is not one unit's.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.code, self.organisation)?;
        match &self.unit {
            Some(unit) => write!(f, "/{unit}"),
            None => Ok(()),
        }
    }
}

/// What is required of somebody's roles. One role meets it, or none does:
///
/// - `physician@h1`: that code in that organisation, in whatever unit or in none.
/// - `physician@h1/cardiology`: in that unit. A role of the whole organisation does not meet it.
/// - `physician@h1/*`: in some unit.
/// - `*@h1`, `*@h1/cardiology`, `*@h1/*`: whatever the code.
/// - `unit:cardiology@h1`: the same as `*@h1/cardiology`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// None for any.
    code: Option<Box<str>>,
    organisation: Box<str>,
    unit: UnitRequired,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum UnitRequired {
    Whatever,
    Some,
    This(Box<str>),
}

impl Requirement {
    /// Reads a requirement.
    ///
    /// # Errors
    /// [`RoleError`].
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        if let Some(unit) = text.strip_prefix("unit:") {
            let (unit, organisation, below) = parts(unit)?;
            if below.is_some() {
                return Err(RoleError::Form);
            }
            check_part(unit)?;
            check_part(organisation)?;
            return Ok(Self { code: None, organisation: organisation.into(), unit: UnitRequired::This(unit.into()) });
        }
        let (code, organisation, unit) = parts(text)?;
        check_part(organisation)?;
        let code = match code {
            "*" => None,
            code => {
                check_part(code)?;
                Some(code.into())
            }
        };
        let unit = match unit {
            None => UnitRequired::Whatever,
            Some("*") => UnitRequired::Some,
            Some(unit) => {
                check_part(unit)?;
                UnitRequired::This(unit.into())
            }
        };
        Ok(Self { code, organisation: organisation.into(), unit })
    }

    /// Whether a role meets it.
    pub fn is_met_by(&self, role: &Role) -> bool {
        self.code.as_ref().is_none_or(|code| *code == role.code)
            && self.organisation == role.organisation
            && match &self.unit {
                UnitRequired::Whatever => true,
                UnitRequired::Some => role.unit.is_some(),
                UnitRequired::This(unit) => role.unit.as_ref() == Some(unit),
            }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.code.as_deref().unwrap_or("*"), self.organisation)?;
        match &self.unit {
            UnitRequired::Whatever => Ok(()),
            UnitRequired::Some => write!(f, "/*"),
            UnitRequired::This(unit) => write!(f, "/{unit}"),
        }
    }
}

/// Code, organisation and unit, not checked yet.
fn parts(text: &str) -> Result<(&str, &str, Option<&str>), RoleError> {
    if text.is_empty() || text.len() > ROLE_BYTES_MAX {
        return Err(RoleError::Length);
    }
    let (code, rest) = text.split_once('@').ok_or(RoleError::Form)?;
    let (organisation, unit) = match rest.split_once('/') {
        Some((organisation, unit)) => (organisation, Some(unit)),
        None => (rest, None),
    };
    if code.is_empty() || organisation.is_empty() || unit == Some("") {
        return Err(RoleError::Form);
    }
    Ok((code, organisation, unit))
}

fn check_part(part: &str) -> Result<(), RoleError> {
    let kept_apart = |char: char| char.is_whitespace() || char.is_control() || matches!(char, '@' | '/' | '*' | ':');
    if part.chars().any(kept_apart) { Err(RoleError::Character) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Requirement, Role, RoleError};

    fn met(requirement: &str, role: &str) -> bool {
        Requirement::parse(requirement).unwrap().is_met_by(&Role::parse(role).unwrap())
    }

    #[test]
    fn requirements_are_met_by_the_roles_that_they_mean() {
        let both = ["physician@h1", "physician@h1/cardiology"];
        for (requirement, meets) in [
            ("physician@h1", [true, true]),
            ("physician@h1/cardiology", [false, true]),
            ("physician@h1/*", [false, true]),
            ("*@h1", [true, true]),
            ("unit:cardiology@h1", [false, true]),
            ("*@h1/cardiology", [false, true]),
            ("nurse@h1", [false, false]),
            ("physician@h2", [false, false]),
            ("unit:cardiology@h2", [false, false]),
            ("physician@h1/surgery", [false, false]),
        ] {
            assert_eq!(both.map(|role| met(requirement, role)), meets, "{requirement}");
        }
    }

    #[test]
    fn what_is_no_role_is_told() {
        for (text, error) in [
            ("", RoleError::Length),
            ("physician", RoleError::Form),
            ("@h1", RoleError::Form),
            ("physician@", RoleError::Form),
            ("physician@h1/", RoleError::Form),
            ("physi cian@h1", RoleError::Character),
            ("physician@h1/a/b", RoleError::Character),
            ("physician@h1@h2", RoleError::Character),
            ("*@h1", RoleError::Character),
            ("unit:a@h1", RoleError::Character),
        ] {
            assert_eq!(Role::parse(text), Err(error), "{text}");
        }
        assert_eq!(Role::parse(&"x".repeat(256)), Err(RoleError::Length));
        assert_eq!(Requirement::parse("unit:a@h1/b"), Err(RoleError::Form));
    }

    proptest! {
        #[test]
        fn both_are_written_as_they_are_read(text in "\\PC{0,40}|(unit:)?[a-z*]{1,3}@[a-z]{1,3}(/[a-z*]{1,3})?") {
            if let Ok(role) = Role::parse(&text) {
                prop_assert_eq!(role.to_string(), text.clone());
                prop_assert!(Requirement::parse(&text).unwrap().is_met_by(&role));
            }
            if let Ok(requirement) = Requirement::parse(&text) {
                prop_assert_eq!(Requirement::parse(&requirement.to_string()).unwrap(), requirement);
            }
        }
    }
}
