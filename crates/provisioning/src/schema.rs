//! Which attributes users and groups have here (RFC 7643, sections 4 and 7), and reading of resources by them. What the
//! RFC has besides (addresses, photos, passwords) is of no use here and not kept.

use serde_json::{Map, Value, json};

use crate::ScimError;

/// The schema of users.
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of groups.
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The extension of users for organisations.
pub const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Longest text of an attribute, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1_024;
/// Values of an attribute that has several.
const VALUES_MAX: usize = 200;
/// All attributes of a resource as JSON, in bytes; members of groups do not count.
const RESOURCE_BYTES_MAX: usize = 64 * 1024;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Boolean,
    Complex(&'static [Attribute]),
}

/// An attribute of a resource, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it has several values.
    pub(crate) several: bool,
    pub(crate) required: bool,
    /// Whether only the server sets it.
    pub(crate) read_only: bool,
    description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    Attribute { name, kind: Kind::Text, several: false, required: false, read_only: false, description }
}

const fn several(name: &'static str, parts: &'static [Attribute], description: &'static str) -> Attribute {
    Attribute { name, kind: Kind::Complex(parts), several: true, required: false, read_only: false, description }
}

/// Parts of attributes with several values.
const PLURAL: &[Attribute] = &[
    text("value", "The value."),
    text("display", "How it is shown."),
    text("type", "What it is for."),
    Attribute { kind: Kind::Boolean, ..text("primary", "Whether it is the first choice.") },
];

const NAME: &[Attribute] = &[
    text("formatted", "The whole name."),
    text("familyName", "The family name."),
    text("givenName", "The given name."),
    text("middleName", "Middle names."),
    text("honorificPrefix", "What stands before, as \"Dr.\"."),
    text("honorificSuffix", "What stands behind, as \"MD\"."),
];

const REFERENCE: &[Attribute] = &[
    text("value", "The id of the other resource."),
    text("$ref", "Its address."),
    text("display", "How it is shown."),
    text("type", "Which kind of resource it is."),
];

const MANAGER: &[Attribute] = &[
    text("value", "The manager's id."),
    text("$ref", "The manager's address."),
    text("displayName", "The manager's name."),
];

const EXTERNAL_ID: Attribute = text("externalId", "The resource's name in the directory.");

const USER: &[Attribute] = &[
    EXTERNAL_ID,
    Attribute { required: true, ..text("userName", "The name by which the user signs in; unique, in any case.") },
    Attribute { kind: Kind::Complex(NAME), ..text("name", "The parts of the user's name.") },
    text("displayName", "How the user is shown; name.formatted where it is absent."),
    text("nickName", "A casual name."),
    text("title", "The title, as \"Chief physician\"."),
    text("userType", "The relation to the organisation, as \"Employee\"."),
    text("preferredLanguage", "Preferred languages."),
    text("locale", "Where the user is, for forms of dates and numbers."),
    text("timezone", "The time zone."),
    Attribute { kind: Kind::Boolean, ..text("active", "Whether the user may use the server.") },
    several("emails", PLURAL, "E-mail addresses."),
    several("phoneNumbers", PLURAL, "Telephone numbers."),
    several("roles", PLURAL, "Roles, from which the rules of the configuration make roles for rooms."),
    Attribute { read_only: true, ..several("groups", REFERENCE, "The groups that the user is in.") },
];

const GROUP: &[Attribute] = &[
    EXTERNAL_ID,
    Attribute { required: true, ..text("displayName", "The group's name.") },
    several("members", REFERENCE, "The users who are in the group."),
];

const ENTERPRISE: &[Attribute] = &[
    text("employeeNumber", "The number of the employee."),
    text("costCenter", "The cost center."),
    text("organization", "The organisation."),
    text("division", "The division."),
    text("department", "The department."),
    Attribute { kind: Kind::Complex(MANAGER), ..text("manager", "The manager.") },
];

/// Attributes of the RFC that are not kept: what is said of them is passed over.
const NOT_KEPT: &[&str] = &[
    "password",
    "addresses",
    "ims",
    "photos",
    "entitlements",
    "x509certificates",
    "profileurl",
    "schemas",
    "meta",
    "id",
];

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// Users.
    User,
    /// Groups of users.
    Group,
}

impl ResourceKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// Where resources of the kind are, below the root.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// Its schema.
    pub const fn urn(self) -> &'static str {
        match self {
            Self::User => USER_URN,
            Self::Group => GROUP_URN,
        }
    }

    pub(crate) const fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
        }
    }

    /// The extension's attributes; none where the kind has no extension.
    pub(crate) const fn extension(self) -> &'static [Attribute] {
        match self {
            Self::User => ENTERPRISE,
            Self::Group => &[],
        }
    }

    /// Reads a resource as the directory sends it: attributes by their names in any case, those that only the server
    /// sets and unknown ones left out.
    ///
    /// # Errors
    /// [`ScimError::InvalidValue`] that names the attribute; [`ScimError::InvalidSyntax`] for what is no object.
    pub(crate) fn read(self, body: &Value) -> Result<Map<String, Value>, ScimError> {
        let Some(object) = body.as_object() else {
            return Err(ScimError::InvalidSyntax("The body must be a JSON object.".to_owned()));
        };
        let mut read = fields(object, self.attributes(), "")?;
        for (name, value) in object {
            if !self.extension().is_empty() && name.eq_ignore_ascii_case(ENTERPRISE_URN) && !value.is_null() {
                let Some(object) = value.as_object() else { return Err(wrong(name, "must be an object")) };
                let extension = fields(object, self.extension(), "")?;
                if !extension.is_empty() {
                    read.insert(ENTERPRISE_URN.to_owned(), Value::Object(extension));
                }
            }
        }
        for attribute in self.attributes().iter().filter(|attribute| attribute.required) {
            if read.get(attribute.name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
                return Err(wrong(attribute.name, "is missing"));
            }
        }
        let bytes = Value::Object(read.clone()).to_string().len();
        if bytes > RESOURCE_BYTES_MAX {
            return Err(ScimError::InvalidValue(format!("The resource has more than {RESOURCE_BYTES_MAX} bytes.")));
        }
        Ok(read)
    }

    /// The document of the schema (RFC 7643, section 7).
    fn document(self) -> Value {
        document(self.urn(), self.name(), self.attributes())
    }

    /// The document of the resource type (RFC 7643, section 6).
    fn resource_type(self, base: &str) -> Value {
        let mut document = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": self.name(),
            "name": self.name(),
            "endpoint": format!("/{}", self.endpoint()),
            "schema": self.urn(),
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", self.name()) },
        });
        if self == Self::User {
            document["schemaExtensions"] = json!([{ "schema": ENTERPRISE_URN, "required": false }]);
        }
        document
    }
}

/// Finds an attribute by its name in any case.
pub(crate) fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Whether the RFC has an attribute that is not kept here.
pub(crate) fn is_not_kept(name: &str) -> bool {
    NOT_KEPT.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn wrong(name: &str, problem: &str) -> ScimError {
    ScimError::InvalidValue(format!("{name}: {problem}."))
}

fn fields(
    object: &Map<String, Value>,
    attributes: &'static [Attribute],
    within: &str,
) -> Result<Map<String, Value>, ScimError> {
    let mut read = Map::new();
    for (name, value) in object {
        let Some(attribute) = find(attributes, name).filter(|attribute| !attribute.read_only) else { continue };
        let full = format!("{within}{}", attribute.name);
        let value = if attribute.several { values(attribute, value, &full)? } else { one(attribute, value, &full)? };
        if let Some(value) = value {
            read.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(read)
}

/// All values of an attribute; none where it has none.
fn values(attribute: &'static Attribute, value: &Value, name: &str) -> Result<Option<Value>, ScimError> {
    let list = match value {
        Value::Null => return Ok(None),
        Value::Array(list) => list.as_slice(),
        // Some directories send one value without the list around it.
        one => std::slice::from_ref(one),
    };
    if list.len() > VALUES_MAX && attribute.name != "members" {
        return Err(wrong(name, &format!("has more than {VALUES_MAX} values")));
    }
    let mut read = Vec::with_capacity(list.len());
    for value in list {
        read.extend(one(attribute, value, name)?);
    }
    Ok((!read.is_empty()).then_some(Value::Array(read)))
}

fn one(attribute: &'static Attribute, value: &Value, name: &str) -> Result<Option<Value>, ScimError> {
    if value.is_null() {
        return Ok(None);
    }
    match attribute.kind {
        Kind::Text => match value {
            Value::String(text) if text.len() > TEXT_BYTES_MAX => {
                Err(wrong(name, &format!("has more than {TEXT_BYTES_MAX} bytes")))
            }
            Value::String(text) => Ok((!text.is_empty()).then(|| Value::String(text.clone()))),
            _ => Err(wrong(name, "must be a text")),
        },
        Kind::Boolean => {
            boolean(value).map(|value| Some(Value::Bool(value))).ok_or(wrong(name, "must be true or false"))
        }
        Kind::Complex(parts) => {
            let read = match value {
                Value::Object(object) => fields(object, parts, &format!("{name}."))?,
                // The value alone, as some directories send managers and roles.
                Value::String(_) if find(parts, "value").is_some() => {
                    let object = Map::from_iter([("value".to_owned(), value.clone())]);
                    fields(&object, parts, &format!("{name}."))?
                }
                _ => return Err(wrong(name, "must be an object")),
            };
            Ok((!read.is_empty()).then_some(Value::Object(read)))
        }
    }
}

/// A boolean, also as a text: Microsoft Entra ID sends `"False"`.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Every schema's document.
pub fn schemas(base: &str) -> Vec<Value> {
    let enterprise = document(ENTERPRISE_URN, "EnterpriseUser", ENTERPRISE);
    let mut all = vec![ResourceKind::User.document(), ResourceKind::Group.document(), enterprise];
    for schema in &mut all {
        let location = format!("{base}/Schemas/{}", schema["id"].as_str().unwrap_or_default());
        schema["meta"] = json!({ "resourceType": "Schema", "location": location });
    }
    all
}

/// The document of every kind of resource.
pub fn resource_types(base: &str) -> Vec<Value> {
    [ResourceKind::User, ResourceKind::Group].into_iter().map(|kind| kind.resource_type(base)).collect()
}

fn document(urn: &str, name: &str, attributes: &'static [Attribute]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": urn,
        "name": name,
        "description": format!("{name} resources of this server"),
        "attributes": attributes.iter().map(definition).collect::<Vec<_>>(),
    })
}

fn definition(attribute: &'static Attribute) -> Value {
    let kind = match attribute.kind {
        Kind::Text if attribute.name == "$ref" => "reference",
        Kind::Text => "string",
        Kind::Boolean => "boolean",
        Kind::Complex(_) => "complex",
    };
    let unique = attribute.name == "userName" || attribute.name == "externalId";
    let mut definition = json!({
        "name": attribute.name,
        "type": kind,
        "multiValued": attribute.several,
        "description": attribute.description,
        "required": attribute.required,
        "caseExact": attribute.name == "externalId",
        "mutability": if attribute.read_only { "readOnly" } else { "readWrite" },
        "returned": "default",
        "uniqueness": if unique { "server" } else { "none" },
    });
    match attribute.kind {
        Kind::Complex(parts) => definition["subAttributes"] = parts.iter().map(definition_of_part).collect(),
        Kind::Text if attribute.name == "$ref" => definition["referenceTypes"] = json!(["User", "Group"]),
        Kind::Text | Kind::Boolean => {}
    }
    definition
}

fn definition_of_part(part: &'static Attribute) -> Value {
    definition(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ENTERPRISE_URN, ResourceKind, schemas};

    #[test]
    fn resources_are_read_by_their_schema() {
        let read = ResourceKind::User
            .read(&json!({
                "schemas": ["x"], "id": "mine", "USERNAME": "alice@h1.example", "password": "secret",
                "name": { "givenname": "Alice", "unknown": 1 }, "active": "False", "groups": [{ "value": "1" }],
                "emails": [{ "value": "a@h1.example", "primary": "True" }], "roles": ["nurse"], "title": null,
                ENTERPRISE_URN: { "Department": "ICU", "manager": "42" },
            }))
            .unwrap();
        let expected = json!({
            "userName": "alice@h1.example", "name": { "givenName": "Alice" }, "active": false,
            "emails": [{ "value": "a@h1.example", "primary": true }], "roles": [{ "value": "nurse" }],
            ENTERPRISE_URN: { "department": "ICU", "manager": { "value": "42" } },
        });
        assert_eq!(serde_json::Value::Object(read), expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, name) in [
            (json!({}), "userName"),
            (json!({ "userName": 1 }), "userName"),
            (json!({ "userName": "a", "active": "maybe" }), "active"),
            (json!({ "userName": "a", "name": [] }), "name"),
            (json!({ "userName": "a", "name": { "givenName": 1 } }), "name.givenName"),
            (json!({ "userName": "a", "title": "x".repeat(2_000) }), "title"),
            (json!({ "userName": "a", "emails": vec!["x"; 300] }), "emails"),
        ] {
            let error = ResourceKind::User.read(&body).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}:")), "{error}");
        }
        assert!(ResourceKind::Group.read(&json!([])).is_err());
    }

    #[test]
    fn schemas_describe_every_attribute() {
        let all = schemas("https://h/scim/v2");
        assert_eq!(all.len(), 3);
        assert_eq!(all[0]["attributes"][1]["uniqueness"], "server");
        assert!(all.iter().all(|schema| !schema["attributes"].as_array().unwrap().is_empty()));
    }
}
