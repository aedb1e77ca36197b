//! Changes of parts of a resource (RFC 7644, section 3.5.2), with what Microsoft Entra ID and Okta send beside it:
//! operations in any case, paths as names of fields, values to remove beside the path, and paths to values that are not
//! there yet.

use serde_json::{Map, Value};

use crate::{
    ScimError,
    filter::{Comparison, Filter, Name},
    schema::{Attribute, ENTERPRISE_URN, Kind, ResourceKind, find, is_not_kept},
};

/// Operations of one request.
pub const OPERATIONS_MAX: usize = 2_000;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 4_096;
/// Values of one attribute while it is being changed.
const VALUES_MAX: usize = 1_000;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Remove,
    Replace,
}

/// One change of one attribute.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) op: Op,
    pub(crate) attribute: &'static Attribute,
    extension: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) part: Option<&'static Attribute>,
    pub(crate) value: Value,
}

/// Reads the body of a request.
pub(crate) fn read(kind: ResourceKind, body: &Value) -> Result<Vec<Operation>, ScimError> {
    let syntax = |sentence: &str| ScimError::InvalidSyntax(sentence.to_owned());
    let listed = body.as_object().and_then(|body| {
        let named = |(name, _): &(&String, &Value)| name.eq_ignore_ascii_case("Operations");
        body.iter().find(named).and_then(|(_, value)| value.as_array())
    });
    let listed = listed.ok_or_else(|| syntax("Operations: must be a list."))?;
    if listed.len() > OPERATIONS_MAX {
        return Err(ScimError::TooMany(format!("Operations: there are more than {OPERATIONS_MAX}.")));
    }
    let mut operations = Vec::new();
    for operation in listed {
        let op = match operation["op"].as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("add") => Op::Add,
            Some("remove") => Op::Remove,
            Some("replace") => Op::Replace,
            _ => return Err(syntax("Operations.op: must be add, remove or replace.")),
        };
        let value = &operation["value"];
        match (&operation["path"], op) {
            (Value::String(path), _) if !path.is_empty() => expand(kind, op, path, value, &mut operations, true)?,
            (Value::Null | Value::String(_), Op::Remove) => {
                return Err(ScimError::NoTarget("is missing; something must be named to be removed.".to_owned()));
            }
            (Value::Null | Value::String(_), _) => {
                let Some(fields) = value.as_object() else {
                    return Err(ScimError::InvalidValue("value: must be an object where there is no path.".to_owned()));
                };
                for (name, value) in fields {
                    expand(kind, op, name, value, &mut operations, false)?;
                }
            }
            _ => return Err(ScimError::InvalidPath("must be a text.".to_owned())),
        }
    }
    Ok(operations)
}

/// Adds the operations that a path stands for. Of what was not `named` as a path, unknown names are passed over, as they
/// are in whole resources.
fn expand(
    kind: ResourceKind,
    op: Op,
    path: &str,
    value: &Value,
    operations: &mut Vec<Operation>,
    named: bool,
) -> Result<(), ScimError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(ScimError::InvalidPath(format!("has more than {PATH_BYTES_MAX} bytes.")));
    }
    if path.eq_ignore_ascii_case(ENTERPRISE_URN) && !kind.extension().is_empty() {
        for attribute in kind.extension() {
            let given = value.as_object().and_then(|fields| {
                fields
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(attribute.name))
                    .map(|(_, value)| value.clone())
            });
            if given.is_some() || op == Op::Remove {
                let value = given.unwrap_or_default();
                operations.push(Operation { op, attribute, extension: true, filter: None, part: None, value });
            }
        }
        return Ok(());
    }
    let unknown = |problem: &str| if named { Err(ScimError::InvalidPath(problem.to_owned())) } else { Ok(()) };
    let (name, filter, part) = match path.split_once('[') {
        None => (path, None, None),
        Some((name, rest)) => {
            let Some((filter, part)) = rest.rsplit_once(']') else { return unknown("a \"]\" is missing.") };
            let part = match part.strip_prefix('.') {
                Some(part) => Some(part),
                None if part.is_empty() => None,
                None => return unknown("something stands behind the \"]\"."),
            };
            (name, Some(Filter::parse(filter)?), part)
        }
    };
    let Ok(name) = Name::parse(name) else {
        // Extensions that nobody here knows are passed over, as in whole resources.
        let foreign = path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
        return if foreign { Ok(()) } else { unknown("names nothing.") };
    };
    let attributes = if name.extension { kind.extension() } else { kind.attributes() };
    let Some(attribute) = find(attributes, &name.attribute) else {
        return if is_not_kept(&name.attribute) { Ok(()) } else { unknown("names no attribute of the resource.") };
    };
    if attribute.read_only {
        let sentence = format!("{}: only the server sets this.", attribute.name);
        return if named { Err(ScimError::Mutability(sentence)) } else { Ok(()) };
    }
    let part = match part.or(name.part.as_deref()) {
        None => None,
        Some(part) => match attribute.kind {
            Kind::Complex(parts) => match find(parts, part) {
                Some(part) => Some(part),
                None => return unknown("names no part of the attribute."),
            },
            Kind::Text | Kind::Boolean => return unknown("the attribute has no parts."),
        },
    };
    if filter.is_some() && !attribute.several {
        return unknown("only attributes with several values are chosen from.");
    }
    operations.push(Operation { op, attribute, extension: name.extension, filter, part, value: value.clone() });
    Ok(())
}

/// Does it to a resource. The result has still to be read by the schema.
pub(crate) fn apply(resource: &mut Map<String, Value>, operation: &Operation) -> Result<(), ScimError> {
    let holder = if operation.extension {
        let extension = resource.entry(ENTERPRISE_URN).or_insert_with(|| Value::Object(Map::new()));
        match extension.as_object_mut() {
            Some(extension) => extension,
            None => return Err(ScimError::Damaged("extension of a resource")),
        }
    } else {
        resource
    };
    let name = operation.attribute.name;
    if operation.attribute.several {
        let mut values = match holder.remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        };
        change_several(&mut values, operation)?;
        if values.len() > VALUES_MAX {
            return Err(ScimError::InvalidValue(format!("{name}: has more than {VALUES_MAX} values.")));
        }
        if !values.is_empty() {
            holder.insert(name.to_owned(), Value::Array(values));
        }
        return Ok(());
    }
    match (operation.op, operation.part, &operation.value) {
        (Op::Remove, None, _) | (Op::Add | Op::Replace, None, Value::Null) => drop(holder.remove(name)),
        (_, None, Value::Object(given)) => {
            let value = holder.entry(name).or_insert_with(|| Value::Object(Map::new()));
            match value.as_object_mut() {
                Some(parts) => merge(parts, given),
                None => *value = Value::Object(given.clone()),
            }
        }
        (_, None, given) => drop(holder.insert(name.to_owned(), given.clone())),
        (op, Some(part), given) => {
            let value = holder.entry(name).or_insert_with(|| Value::Object(Map::new()));
            set_part(value, part, (op != Op::Remove).then_some(given));
        }
    }
    Ok(())
}

/// Sets a part of a value, or takes it away.
fn set_part(value: &mut Value, part: &Attribute, given: Option<&Value>) {
    let Some(parts) = value.as_object_mut() else { return };
    match given.filter(|given| !given.is_null()) {
        Some(given) => drop(parts.insert(part.name.to_owned(), given.clone())),
        None => drop(parts.remove(part.name)),
    }
}

/// Sets the parts that are given, by their names in any case.
fn merge(parts: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (name, value) in given {
        parts.retain(|known, _| !known.eq_ignore_ascii_case(name));
        parts.insert(name.clone(), value.clone());
    }
}

fn change_several(values: &mut Vec<Value>, operation: &Operation) -> Result<(), ScimError> {
    let Operation { op, filter, part, value, .. } = operation;
    if let Some(filter) = filter {
        return change_chosen(values, *op, filter, *part, value);
    }
    match (op, part) {
        (Op::Remove, None) => match listed(value) {
            given if given.is_empty() => values.clear(),
            // Entra ID names the values to remove beside the path.
            given => values.retain(|known| !given.iter().any(|given| given["value"] == known["value"])),
        },
        (op, Some(part)) => {
            for known in values {
                set_part(known, part, (*op != Op::Remove).then_some(value));
            }
        }
        (Op::Replace, None) => *values = listed(value),
        (Op::Add, None) => {
            for given in listed(value) {
                if values.len() > VALUES_MAX {
                    break;
                }
                if !values.contains(&given) {
                    one_primary(values, &given);
                    values.push(given);
                }
            }
        }
    }
    Ok(())
}

/// Values as they are kept: objects in a list.
fn listed(value: &Value) -> Vec<Value> {
    let whole = |value: &Value| match value {
        Value::String(_) => Value::Object(Map::from_iter([("value".to_owned(), value.clone())])),
        value => value.clone(),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(whole).collect(),
        value => vec![whole(value)],
    }
}

/// A new first choice ends the former one (RFC 7644, section 3.5.2).
fn one_primary(values: &mut [Value], new: &Value) {
    if new["primary"] == Value::Bool(true) {
        for known in values.iter_mut().filter_map(Value::as_object_mut) {
            known.remove("primary");
        }
    }
}

fn change_chosen(
    values: &mut Vec<Value>,
    op: Op,
    filter: &Filter,
    part: Option<&'static Attribute>,
    value: &Value,
) -> Result<(), ScimError> {
    if op == Op::Remove {
        match part {
            None => values.retain(|known| !filter.is_met_by(known)),
            Some(part) => {
                for known in values.iter_mut().filter(|known| filter.is_met_by(known)) {
                    set_part(known, part, None);
                }
            }
        }
        return Ok(());
    }
    let none = !values.iter().any(|known| filter.is_met_by(known));
    if none {
        let mut made = Map::new();
        if !make(filter, &mut made) {
            return Err(ScimError::NoTarget("no value of the attribute meets the filter.".to_owned()));
        }
        values.push(Value::Object(made));
    }
    let new = values.len().saturating_sub(usize::from(none));
    for (at, known) in values.iter_mut().enumerate() {
        if none && at < new || !none && !filter.is_met_by(known) {
            continue;
        }
        match (part, value) {
            (Some(part), value) => set_part(known, part, Some(value)),
            (None, Value::Object(given)) if op == Op::Add => {
                if let Some(parts) = known.as_object_mut() {
                    merge(parts, given);
                }
            }
            (None, Value::Object(given)) => *known = Value::Object(given.clone()),
            (None, _) => return Err(ScimError::InvalidValue("value: must be an object.".to_owned())),
        }
    }
    Ok(())
}

/// What a value must have to meet the filter, where it only says so: `type eq "work"`.
fn make(filter: &Filter, made: &mut Map<String, Value>) -> bool {
    match filter {
        Filter::And(a, b) => make(a, made) && make(b, made),
        Filter::Compare(name, Comparison::Eq, value) if name.part.is_none() && !value.is_null() => {
            made.insert(name.attribute.to_string(), value.clone());
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
