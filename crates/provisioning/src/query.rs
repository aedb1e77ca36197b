//! What a request asks of a list (RFC 7644, section 3.4.2), and which attributes it wants to see (section 3.9).

use serde_json::{Map, Value};

use crate::{
    ScimError,
    filter::{Filter, Name},
    schema::ENTERPRISE_URN,
};

/// Resources in one answer where the request does not say how many.
pub const COUNT_DEFAULT: usize = 100;
/// Resources in one answer at most.
pub const COUNT_MAX: usize = 1_000;
/// Attributes that a request can name.
const NAMES_MAX: usize = 100;

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// What the resources have to meet.
    pub filter: Option<Filter>,
    /// By which attribute they are ordered.
    pub sort_by: Option<Name>,
    /// The other way round.
    pub descending: bool,
    /// The number of the first that is shown, from 1 on.
    pub start: usize,
    /// How many are shown.
    pub count: usize,
    /// What is shown of each.
    pub shown: Shown,
}

/// What is shown of a resource.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Only these, where there are any.
    only: Option<Vec<Wanted>>,
    /// Not these.
    not: Vec<Wanted>,
}

#[derive(Clone, Debug)]
enum Wanted {
    Extension,
    Attribute(Name),
}

impl Query {
    /// Reads the parameters of a list, which are texts in a URL and values in a body.
    ///
    /// # Errors
    /// [`ScimError::InvalidFilter`], [`ScimError::InvalidValue`].
    pub fn read(get: impl Fn(&str) -> Option<String>, shown: Shown) -> Result<Self, ScimError> {
        let number = |name: &str, default: usize| match get(name).map(|text| text.trim().parse::<i64>()) {
            None => Ok(default),
            Some(Ok(number)) => Ok(usize::try_from(number).unwrap_or(0)),
            Some(Err(_)) => Err(ScimError::InvalidValue(format!("{name}: is no number."))),
        };
        let filter = get("filter").filter(|text| !text.trim().is_empty());
        let sort_by = get("sortBy").filter(|text| !text.is_empty());
        let descending = match get("sortOrder").map(|order| order.to_ascii_lowercase()).as_deref() {
            None | Some("" | "ascending") => false,
            Some("descending") => true,
            Some(_) => return Err(ScimError::InvalidValue("sortOrder: must be ascending or descending.".to_owned())),
        };
        Ok(Self {
            filter: filter.map(|text| Filter::parse(&text)).transpose()?,
            sort_by: sort_by.map(|text| Name::parse(&text)).transpose()?,
            descending,
            start: number("startIndex", 1)?.max(1),
            count: number("count", COUNT_DEFAULT)?.min(COUNT_MAX),
            shown,
        })
    }
}

impl Shown {
    /// Reads the names in `attributes` and `excludedAttributes`, of which only one may be given.
    ///
    /// # Errors
    /// [`ScimError::InvalidValue`].
    pub fn read<'a>(
        only: impl Iterator<Item = &'a str>,
        not: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ScimError> {
        let (only, not) = (names(only)?, names(not)?);
        if only.is_some() && not.is_some() {
            let sentence = "attributes, excludedAttributes: only one of them can be given.";
            return Err(ScimError::InvalidValue(sentence.to_owned()));
        }
        Ok(Self { only, not: not.unwrap_or_default() })
    }

    /// Whether an attribute of the resource itself is shown, at least a part of it.
    pub(crate) fn shows(&self, attribute: &str) -> bool {
        let is = |wanted: &Wanted, whole: bool| match wanted {
            Wanted::Attribute(name) => {
                !name.extension && &*name.attribute == attribute && !(whole && name.part.is_some())
            }
            Wanted::Extension => false,
        };
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| is(wanted, false)))
            && !self.not.iter().any(|wanted| is(wanted, true))
    }

    /// Whether something is named at all.
    pub fn is_chosen(&self) -> bool {
        self.only.is_some() || !self.not.is_empty()
    }

    /// Leaves out of a resource what is not shown. `id` and `schemas` always are.
    pub(crate) fn apply(&self, resource: Value) -> Value {
        let Value::Object(mut all) = resource else { return resource };
        let kept = |name: &str| name == "id" || name == "schemas";
        if let Some(only) = &self.only {
            let mut chosen: Map<String, Value> = Map::new();
            for (name, value) in &all {
                if kept(name) {
                    chosen.insert(name.clone(), value.clone());
                } else if let Some(value) = choose(only, name, value) {
                    chosen.insert(name.clone(), value);
                }
            }
            return Value::Object(chosen);
        }
        for wanted in &self.not {
            match wanted {
                Wanted::Extension => drop(all.remove(ENTERPRISE_URN)),
                Wanted::Attribute(name) if name.extension => {
                    if let Some(extension) = all.get_mut(ENTERPRISE_URN).and_then(Value::as_object_mut) {
                        leave_out(extension, name);
                    }
                }
                Wanted::Attribute(name) if !kept(&name.attribute) => leave_out(&mut all, name),
                Wanted::Attribute(_) => {}
            }
        }
        Value::Object(all)
    }
}

fn names<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Option<Vec<Wanted>>, ScimError> {
    let mut names = Vec::new();
    let mut any = false;
    for text in texts.flat_map(|list| list.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        any = true;
        if names.len() == NAMES_MAX {
            return Err(ScimError::InvalidValue(format!("attributes: more than {NAMES_MAX} are named.")));
        }
        match Name::parse(text) {
            _ if text.eq_ignore_ascii_case(ENTERPRISE_URN) => names.push(Wanted::Extension),
            Ok(name) => names.push(Wanted::Attribute(name)),
            // Names that nothing has here.
            Err(_) => {}
        }
    }
    Ok(any.then_some(names))
}

/// What is shown of an attribute of which only some things are; none where nothing is.
fn choose(only: &[Wanted], name: &str, value: &Value) -> Option<Value> {
    let extension = name == ENTERPRISE_URN;
    if extension && only.iter().any(|wanted| matches!(wanted, Wanted::Extension)) {
        return Some(value.clone());
    }
    if extension {
        let fields = value.as_object()?;
        let inner: Vec<Wanted> = only
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Attribute(name) if name.extension => {
                    Some(Wanted::Attribute(Name { extension: false, ..name.clone() }))
                }
                _ => None,
            })
            .collect();
        let chosen: Map<String, Value> =
            fields.iter().filter_map(|(name, value)| Some((name.clone(), choose(&inner, name, value)?))).collect();
        return (!chosen.is_empty()).then_some(Value::Object(chosen));
    }
    let mut parts = Vec::new();
    for wanted in only {
        if let Wanted::Attribute(wanted) = wanted
            && !wanted.extension
            && wanted.attribute.eq_ignore_ascii_case(name)
        {
            match &wanted.part {
                None => return Some(value.clone()),
                Some(part) => parts.push(&**part),
            }
        }
    }
    let some = |value: &Value| {
        let fields = value.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| parts.iter().any(|part| part.eq_ignore_ascii_case(name)));
        Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    match value {
        _ if parts.is_empty() => None,
        Value::Array(values) => Some(Value::Array(values.iter().map(some).collect())),
        value => Some(some(value)),
    }
}

fn leave_out(fields: &mut Map<String, Value>, name: &Name) {
    let is = |known: &String, wanted: &str| known.eq_ignore_ascii_case(wanted);
    let Some(part) = &name.part else { return fields.retain(|known, _| !is(known, &name.attribute)) };
    for (_, value) in fields.iter_mut().filter(|(known, _)| is(known, &name.attribute)) {
        let values = match value {
            Value::Array(values) => values.as_mut_slice(),
            value => std::slice::from_mut(value),
        };
        for value in values.iter_mut().filter_map(Value::as_object_mut) {
            value.retain(|known, _| !is(known, part));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Query, Shown};
    use crate::ENTERPRISE_URN;

    fn user() -> Value {
        json!({
            "id": "1", "schemas": ["x"], "userName": "a", "name": { "givenName": "A", "familyName": "B" },
            "emails": [{ "type": "work", "value": "v" }], ENTERPRISE_URN: { "department": "ICU", "division": "D" },
        })
    }

    #[test]
    fn only_what_is_named_is_shown() {
        let only = |names: &str| Shown::read([names].into_iter(), [].into_iter()).unwrap().apply(user());
        assert_eq!(only("USERNAME"), json!({ "id": "1", "schemas": ["x"], "userName": "a" }));
        assert_eq!(only("name.givenName")["name"], json!({ "givenName": "A" }));
        assert_eq!(only("emails.value,title")["emails"], json!([{ "value": "v" }]));
        assert_eq!(only(&format!("{ENTERPRISE_URN}:department"))[ENTERPRISE_URN], json!({ "department": "ICU" }));
        assert_eq!(only(ENTERPRISE_URN)[ENTERPRISE_URN], user()[ENTERPRISE_URN]);
        assert_eq!(only("nothing"), json!({ "id": "1", "schemas": ["x"] }));
    }

    #[test]
    fn what_is_excluded_is_not_shown() {
        let without = |names: &str| Shown::read([].into_iter(), [names].into_iter()).unwrap().apply(user());
        assert_eq!(without("emails,id")["emails"], Value::Null);
        assert_eq!(without("id")["id"], "1");
        assert_eq!(without("name.givenName")["name"], json!({ "familyName": "B" }));
        assert_eq!(without(&format!("{ENTERPRISE_URN}:division"))[ENTERPRISE_URN], json!({ "department": "ICU" }));
        assert!(Shown::read(["a"].into_iter(), ["b"].into_iter()).is_err());
    }

    #[test]
    fn numbers_out_of_range_are_brought_into_it() {
        let query = |start: &'static str, count: &'static str| {
            let get = move |name: &str| match name {
                "startIndex" => Some(start.to_owned()),
                "count" => Some(count.to_owned()),
                _ => None,
            };
            Query::read(get, Shown::default()).map(|query| (query.start, query.count))
        };
        assert_eq!(query("0", "-1").unwrap(), (1, 0));
        assert_eq!(query("-7", "999999").unwrap(), (1, super::COUNT_MAX));
        assert!(query("x", "1").is_err());
    }
}
