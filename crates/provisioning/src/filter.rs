//! Filters (RFC 7644, section 3.4.2.2): reading within bounds, and asking a resource.

mod read;

use std::cmp::Ordering;

use serde_json::Value;
use wardroom_clock::timestamp;

use crate::{
    ScimError,
    schema::{ENTERPRISE_URN, boolean},
};

/// Longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 4_096;
/// Deepest nesting of a filter.
pub const FILTER_DEPTH_MAX: usize = 16;
/// Comparisons of a filter.
pub const FILTER_TERMS_MAX: usize = 64;

/// What resources, or values of an attribute, have to meet.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// At least one.
    Or(Box<Filter>, Box<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has a value.
    Present(Name),
    /// A value of the attribute compares so.
    Compare(Name, Comparison, Value),
    /// One value of the attribute meets this.
    Within(Name, Box<Filter>),
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater than.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less than.
    Lt,
    /// Less or equal.
    Le,
}

/// The name of an attribute, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Of the enterprise extension.
    pub(crate) extension: bool,
    pub(crate) attribute: Box<str>,
    pub(crate) part: Option<Box<str>>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`ScimError::InvalidFilter`] where it is malformed, or longer, deeper or of more terms than is allowed.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        read::filter(text)
    }

    /// Whether a resource, or a value of an attribute, meets it.
    pub(crate) fn is_met_by(&self, value: &Value) -> bool {
        match self {
            Self::And(a, b) => a.is_met_by(value) && b.is_met_by(value),
            Self::Or(a, b) => a.is_met_by(value) || b.is_met_by(value),
            Self::Not(filter) => !filter.is_met_by(value),
            Self::Present(name) => name.values(value).into_iter().any(is_something),
            Self::Compare(name, Comparison::Ne, with) => !any_compares(name, value, Comparison::Eq, with),
            Self::Compare(name, comparison, with) => any_compares(name, value, *comparison, with),
            Self::Within(name, filter) => name.values(value).into_iter().any(|value| filter.is_met_by(value)),
        }
    }

    /// Whether it asks for an attribute.
    pub(crate) fn mentions(&self, attribute: &str) -> bool {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.mentions(attribute) || b.mentions(attribute),
            Self::Not(filter) => filter.mentions(attribute),
            Self::Present(name) | Self::Compare(name, ..) | Self::Within(name, _) => &*name.attribute == attribute,
        }
    }

    /// The texts of which an attribute must be one, if the filter says nothing else: `a eq "x" or a eq "y"`.
    pub(crate) fn texts_of(&self, attribute: &str) -> Option<Vec<&str>> {
        match self {
            Self::Or(a, b) => {
                let mut texts = a.texts_of(attribute)?;
                texts.extend(b.texts_of(attribute)?);
                Some(texts)
            }
            Self::Compare(name, Comparison::Eq, Value::String(text)) if name.is(attribute) => Some(vec![text]),
            _ => None,
        }
    }

    /// The text that an attribute, or one of its values, must have for the filter to be met.
    pub(crate) fn demands(&self, attribute: &str) -> Option<&str> {
        match self {
            Self::And(a, b) => a.demands(attribute).or_else(|| b.demands(attribute)),
            Self::Compare(name, Comparison::Eq, Value::String(text)) if name.is(attribute) => Some(text),
            Self::Within(name, filter) if name.is(attribute) => filter.demands("value"),
            _ => None,
        }
    }
}

impl Name {
    /// Reads the name of an attribute: `name`, `name.part`, with or without the schema before it.
    ///
    /// # Errors
    /// [`ScimError::InvalidPath`] where it cannot be one.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        read::name(text).ok_or_else(|| ScimError::InvalidPath("is no name of an attribute.".to_owned()))
    }

    fn is(&self, attribute: &str) -> bool {
        !self.extension && self.part.as_deref().is_none_or(|part| part == "value") && &*self.attribute == attribute
    }

    /// The values that the attribute has in a resource.
    pub(crate) fn values<'a>(&self, of: &'a Value) -> Vec<&'a Value> {
        let of = if self.extension { get(of, ENTERPRISE_URN) } else { Some(of) };
        let Some(value) = of.and_then(|of| get(of, &self.attribute)) else { return Vec::new() };
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        match &self.part {
            None => values,
            Some(part) => values.into_iter().filter_map(|value| get(value, part)).collect(),
        }
    }

    /// Whether values are told apart by the case of their letters.
    fn is_case_exact(&self) -> bool {
        let name = self.part.as_deref().unwrap_or(&self.attribute);
        matches!(name, "id" | "externalid" | "$ref" | "version" | "location")
    }

    fn is_time(&self) -> bool {
        &*self.attribute == "meta" && matches!(self.part.as_deref(), Some("created" | "lastmodified"))
    }
}

/// A field by its name in any case.
fn get<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    of.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn any_compares(name: &Name, of: &Value, comparison: Comparison, with: &Value) -> bool {
    let values = name.values(of);
    if with.is_null() {
        return comparison == Comparison::Eq && !values.into_iter().any(is_something);
    }
    values.into_iter().any(|value| {
        // A value of several parts is compared by the part that is called so.
        let value = if value.is_object() { get(value, "value") } else { Some(value) };
        value.is_some_and(|value| compares(name, value, comparison, with))
    })
}

fn compares(name: &Name, value: &Value, comparison: Comparison, with: &Value) -> bool {
    match (value, with) {
        (Value::String(value), Value::String(with)) if name.is_time() => {
            match (timestamp::parse(value), timestamp::parse(with)) {
                (Some(value), Some(with)) => holds(comparison, value.cmp(&with)),
                _ => false,
            }
        }
        (Value::String(value), Value::String(with)) if name.is_case_exact() => texts(comparison, value, with),
        (Value::String(value), Value::String(with)) => texts(comparison, &folded(value), &folded(with)),
        (Value::Bool(value), with) => comparison == Comparison::Eq && boolean(with) == Some(*value),
        (Value::Number(value), Value::Number(with)) => match (value.as_f64(), with.as_f64()) {
            (Some(value), Some(with)) => value.partial_cmp(&with).is_some_and(|order| holds(comparison, order)),
            _ => false,
        },
        _ => false,
    }
}

fn texts(comparison: Comparison, value: &str, with: &str) -> bool {
    match comparison {
        Comparison::Co => value.contains(with),
        Comparison::Sw => value.starts_with(with),
        Comparison::Ew => value.ends_with(with),
        _ => holds(comparison, value.cmp(with)),
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Co | Comparison::Sw | Comparison::Ew => false,
    }
}

/// A text as it is compared where case does not matter.
pub(crate) fn folded(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests;
