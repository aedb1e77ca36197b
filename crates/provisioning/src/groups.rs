//! Groups of the directory and who is in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use wardroom_store::{Batch, Json};

use crate::{
    Provisioning, ScimError,
    patch::{Op, Operation},
    resources::{Change, Stored, id_of, new_id},
    schema::ResourceKind,
    settling::Due,
    tables::{DUE, MEMBER_OF, MEMBERS, RESOURCES, ResourceRow},
};

/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 20_000;
/// Resources read at once.
const ROWS_PER_READ: usize = 1_000;

/// Who is in a group, while it is being changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(BTreeSet<u64>);

impl Members {
    /// Takes the members out of a whole group that the directory sends, and leaves the rest.
    pub(crate) fn replaced_by(&mut self, kind: ResourceKind, body: &Value) -> Result<Value, ScimError> {
        let mut body = body.clone();
        if kind == ResourceKind::Group
            && let Some(fields) = body.as_object_mut()
        {
            self.0.clear();
            let name = fields.keys().find(|name| name.eq_ignore_ascii_case("members")).cloned();
            if let Some(members) = name.and_then(|name| fields.remove(&name)) {
                self.add(&members)?;
            }
        }
        Ok(body)
    }

    /// Does what a request asks to do with members.
    pub(crate) fn change(&mut self, operation: &Operation) -> Result<(), ScimError> {
        let Operation { op, filter, part, value, .. } = operation;
        if part.is_some_and(|part| part.name != "value" || *op == Op::Remove) {
            let sentence = "members: parts of a member are not changed; remove the member and add another.";
            return Err(ScimError::Mutability(sentence.to_owned()));
        }
        match (op, filter) {
            (Op::Remove, Some(filter)) => {
                let Some(named) = filter.texts_of("value") else {
                    let sentence = "members are chosen by value eq \"...\" only.";
                    return Err(ScimError::InvalidFilter(sentence.to_owned()));
                };
                for id in named.into_iter().filter_map(id_of) {
                    self.0.remove(&id);
                }
            }
            // Entra ID names whom to remove beside the path.
            (Op::Remove, None) if is_something(value) => {
                for id in listed(value).filter_map(|member| id_of(text_of(member)?)) {
                    self.0.remove(&id);
                }
            }
            (Op::Remove, None) => self.0.clear(),
            (_, Some(_)) => {
                let sentence = "members: a member cannot be changed; remove it and add another.";
                return Err(ScimError::Mutability(sentence.to_owned()));
            }
            (Op::Replace, None) => {
                self.0.clear();
                self.add(value)?;
            }
            (Op::Add, None) => self.add(value)?,
        }
        Ok(())
    }

    fn add(&mut self, members: &Value) -> Result<(), ScimError> {
        let wrong = |sentence: &str| ScimError::InvalidValue(format!("members: {sentence}"));
        for member in listed(members) {
            if member["type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("User")) {
                return Err(wrong("groups within groups are not supported."));
            }
            let id = text_of(member).and_then(id_of);
            self.0.insert(id.ok_or_else(|| wrong("a value is missing or is the id of no user."))?);
            if self.0.len() > GROUP_MEMBERS_MAX {
                return Err(wrong(&format!("a group has at most {GROUP_MEMBERS_MAX}.")));
            }
        }
        Ok(())
    }
}

fn is_something(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

fn listed(value: &Value) -> impl Iterator<Item = &Value> {
    let list = match value {
        Value::Null => &[],
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    list.iter()
}

/// The id of a member, which stands alone or as a part.
fn text_of(member: &Value) -> Option<&str> {
    member.as_str().or_else(|| member["value"].as_str())
}

impl Provisioning {
    pub(crate) async fn create_group(&self, body: &Value) -> Result<u64, ScimError> {
        let mut members = Members::default();
        let body = members.replaced_by(ResourceKind::Group, body)?;
        let attributes = ResourceKind::Group.read(&body)?;
        let (id, now_ms) = (new_id(), self.0.clock.now_ms());
        let row = ResourceRow { attributes, user: 0, created_ms: now_ms, modified_ms: now_ms, revision: 1 };
        let mut batch = Batch::default();
        batch.expect_absent(&RESOURCES, &(ResourceKind::Group.code(), id));
        self.write_group(batch, id, &Map::new(), Some(row), (&BTreeSet::new(), &members.0)).await?;
        Ok(id)
    }

    pub(crate) async fn change_group(&self, stored: &Stored, change: &Change<'_>) -> Result<(), ScimError> {
        let before: BTreeSet<u64> = self.linked(ResourceKind::Group, stored.id).await?.into_iter().collect();
        let mut members = Members(before.clone());
        let attributes = Self::changed(ResourceKind::Group, &stored.row, change, &mut members)?;
        if attributes == stored.row.attributes && members.0 == before {
            return Ok(());
        }
        let (modified_ms, revision) = (self.0.clock.now_ms(), stored.row.revision + 1);
        let row = ResourceRow { attributes, modified_ms, revision, ..stored.row.clone() };
        let mut batch = Batch::default();
        batch.expect_version(&RESOURCES, &(ResourceKind::Group.code(), stored.id), Some(stored.at));
        self.write_group(batch, stored.id, &stored.row.attributes, Some(row), (&before, &members.0)).await
    }

    pub(crate) async fn delete_group(&self, stored: &Stored) -> Result<(), ScimError> {
        let before: BTreeSet<u64> = self.linked(ResourceKind::Group, stored.id).await?.into_iter().collect();
        let mut batch = Batch::default();
        batch.expect_version(&RESOURCES, &(ResourceKind::Group.code(), stored.id), Some(stored.at));
        self.write_group(batch, stored.id, &stored.row.attributes, None, (&before, &BTreeSet::new())).await
    }

    /// Writes a group, or deletes it, with its memberships, and does what follows for everybody whom it concerns.
    async fn write_group(
        &self,
        mut batch: Batch,
        id: u64,
        attributes_before: &Map<String, Value>,
        row: Option<ResourceRow>,
        (before, after): (&BTreeSet<u64>, &BTreeSet<u64>),
    ) -> Result<(), ScimError> {
        let kind = ResourceKind::Group;
        let none = Map::new();
        let attributes = row.as_ref().map_or(&none, |row| &row.attributes);
        self.rename(&mut batch, kind, id, attributes_before, attributes).await?;
        let called_otherwise = attributes.get("displayName") != attributes_before.get("displayName");
        let concerned: Vec<u64> = match called_otherwise {
            true => before.union(after).copied().collect(),
            false => before.symmetric_difference(after).copied().collect(),
        };
        match &row {
            Some(row) => batch.put(&RESOURCES, &(kind.code(), id), &Json(row.clone())),
            None => batch.delete(&RESOURCES, &(kind.code(), id)),
        }
        let mut users = Vec::with_capacity(concerned.len());
        for part in concerned.chunks(ROWS_PER_READ) {
            let keys: Vec<(u8, u64)> = part.iter().map(|member| (ResourceKind::User.code(), *member)).collect();
            let found = self.0.store.latest().multi_get(&RESOURCES, &keys).await?;
            for (member, found) in part.iter().zip(found) {
                match (found, after.contains(member)) {
                    (Some(Json(found)), _) => users.push(found.user),
                    (None, false) => {}
                    (None, true) => {
                        let sentence = "members: a value is the id of no user.";
                        return Err(ScimError::InvalidValue(sentence.to_owned()));
                    }
                }
                match (before.contains(member), after.contains(member)) {
                    (false, true) => {
                        batch.put(&MEMBERS, &(id, *member), &());
                        batch.put(&MEMBER_OF, &(*member, id), &());
                    }
                    (true, false) => {
                        batch.delete(&MEMBERS, &(id, *member));
                        batch.delete(&MEMBER_OF, &(*member, id));
                    }
                    _ => {}
                }
            }
        }
        for user in &users {
            batch.put(&DUE, &(*user, Due::Roles.code()), &());
        }
        self.0.store.commit(batch).await?;
        self.settle(Due::Roles, &users).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{GROUP_MEMBERS_MAX, Members};
    use crate::{patch, resources::id_text, schema::ResourceKind};

    fn changed(members: &mut Members, operations: &Value) -> Result<Vec<u64>, crate::ScimError> {
        for operation in patch::read(ResourceKind::Group, &json!({ "Operations": operations }))? {
            members.change(&operation)?;
        }
        Ok(members.0.iter().copied().collect())
    }

    #[test]
    fn members_come_and_go_in_every_known_form() {
        let (one, two, three) = (id_text(1), id_text(2), id_text(3));
        let mut members = Members::default();
        let mut done = |operations: Value| changed(&mut members, &operations).unwrap();
        assert_eq!(
            done(json!([{ "op": "add", "path": "members", "value": [{ "value": one }, { "value": two }] }])),
            [1, 2]
        );
        assert_eq!(done(json!([{ "op": "Add", "value": { "members": [{ "value": three }] } }])), [1, 2, 3]);
        assert_eq!(done(json!([{ "op": "remove", "path": format!("members[value eq \"{one}\"]") }])), [2, 3]);
        assert_eq!(done(json!([{ "op": "Remove", "path": "members", "value": [{ "value": two }] }])), [3]);
        assert_eq!(
            done(json!([{ "op": "replace", "path": "members", "value": [{ "value": one, "type": "User" }] }])),
            [1]
        );
        let either = format!("members[value eq \"{one}\" or value eq \"{two}\"]");
        assert_eq!(done(json!([{ "op": "remove", "path": either }])), Vec::<u64>::new());
        assert_eq!(
            done(json!([{ "op": "add", "path": "members", "value": two }, { "op": "remove", "path": "members" }])),
            [0; 0]
        );
    }

    #[test]
    fn what_is_no_member_is_refused() {
        for operations in [
            json!([{ "op": "add", "path": "members", "value": [{ "value": "nobody" }] }]),
            json!([{ "op": "add", "path": "members", "value": [{ "value": id_text(1), "type": "Group" }] }]),
            json!([{ "op": "add", "path": "members", "value": [{}] }]),
            json!([{ "op": "add", "path": "members", "value": [null] }]),
            json!([{ "op": "remove", "path": "members[display co \"x\"]" }]),
            json!([{ "op": "replace", "path": "members[value eq \"x\"].display", "value": "y" }]),
        ] {
            assert!(changed(&mut Members::default(), &operations).is_err(), "{operations}");
        }
        let many: Vec<Value> = (0..=GROUP_MEMBERS_MAX as u64).map(|id| json!(id_text(id))).collect();
        let operations = json!([{ "op": "add", "path": "members", "value": many }]);
        assert!(changed(&mut Members::default(), &operations).is_err());
    }
}
