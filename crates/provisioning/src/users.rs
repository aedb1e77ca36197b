//! Users of the directory, and the users of this server that they are.

use ruma::UserId;
use serde_json::{Map, Value};
use wardroom_accounts::{AccountError, DISPLAY_NAME_CHARS_MAX, User};
use wardroom_store::{Batch, Json, Packed};

use crate::{
    Provisioning, ScimError,
    groups::Members,
    resources::{Change, Stored, new_id},
    schema::ResourceKind,
    settling::Due,
    tables::{DUE, MEMBER_OF, MEMBERS, OWNERS, OwnerRow, RESOURCES, ResourceRow},
};

/// How the directory calls a user; none where it does not say.
pub(crate) fn shown_name(user: &Map<String, Value>) -> Option<String> {
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).map(str::trim).unwrap_or_default();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let name = user.get("name");
    let part = |part: &str| text(name.and_then(|name| name.get(part)));
    text(user.get("displayName")).or_else(|| part("formatted")).or_else(|| {
        match (part("givenName"), part("familyName")) {
            (Some(given), Some(family)) => Some(format!("{given} {family}")),
            (given, family) => given.or(family),
        }
    })
}

/// Whether the user may use the server.
pub(crate) fn is_active(user: &Map<String, Value>) -> bool {
    user.get("active").and_then(Value::as_bool).unwrap_or(true)
}

fn check_name(user: &Map<String, Value>) -> Result<(), ScimError> {
    if shown_name(user).is_some_and(|name| name.chars().count() > DISPLAY_NAME_CHARS_MAX) {
        let sentence = format!("displayName: has more than {DISPLAY_NAME_CHARS_MAX} characters.");
        return Err(ScimError::InvalidValue(sentence));
    }
    Ok(())
}

impl Provisioning {
    /// The user of this server that a new resource is about, made if there is none.
    async fn account_for(&self, attributes: &Map<String, Value>) -> Result<User, ScimError> {
        let accounts = &self.0.accounts;
        let localpart = self.0.settings.localpart.localpart(attributes)?;
        let id = UserId::parse_with_server_name(localpart.as_str(), &accounts.settings().server_name);
        let wrong = |sentence: &str| ScimError::InvalidValue(format!("userName: {sentence}"));
        let id = id.map_err(|_| wrong("cannot become the name of a user of this server."))?;
        if accounts.is_own_user(&id) {
            return Err(wrong("this name is one of the server's own."));
        }
        let user = match accounts.user(&id).await? {
            Some(user) => user,
            None => match accounts.create_user(&localpart, None, false).await {
                // Somebody registered at this moment.
                Err(AccountError::UserInUse) => accounts.user(&id).await?.ok_or(AccountError::UserInUse)?,
                made => made?,
            },
        };
        let taken = |sentence: &str| Err(ScimError::Uniqueness(format!("userName: {sentence}")));
        if user.deactivated {
            return taken("the account of this name was closed for good; names are not given out twice.");
        }
        if user.guest {
            return taken("the account of this name is a guest's.");
        }
        Ok(user)
    }

    pub(crate) async fn create_user(&self, body: &Value) -> Result<u64, ScimError> {
        let kind = ResourceKind::User;
        let attributes = kind.read(body)?;
        check_name(&attributes)?;
        let (id, mut batch, now_ms) = (new_id(), Batch::default(), self.0.clock.now_ms());
        self.rename(&mut batch, kind, id, &Map::new(), &attributes).await?;
        let user = self.account_for(&attributes).await?;
        let nid = user.nid.get();
        let owner = self.0.store.latest().get(&OWNERS, &nid).await?.map(|Packed(owner)| owner).unwrap_or_default();
        if owner.resource.is_some() {
            let sentence = "userName: another resource has the user of this server that this one would have.";
            return Err(ScimError::Uniqueness(sentence.to_owned()));
        }
        let row = ResourceRow { attributes, user: nid, created_ms: now_ms, modified_ms: now_ms, revision: 1 };
        batch.expect_absent(&RESOURCES, &(kind.code(), id));
        batch.put(&RESOURCES, &(kind.code(), id), &Json(row));
        batch.put(&OWNERS, &nid, &Packed(OwnerRow { resource: Some(id), ..owner }));
        batch.put(&DUE, &(nid, Due::All.code()), &());
        self.0.store.commit(batch).await?;
        self.settle(Due::All, &[nid]).await?;
        Ok(id)
    }

    pub(crate) async fn change_user(&self, stored: &Stored, change: &Change<'_>) -> Result<(), ScimError> {
        let kind = ResourceKind::User;
        let Stored { id, row, at } = stored;
        let attributes = Self::changed(kind, row, change, &mut Members::default())?;
        check_name(&attributes)?;
        if attributes == row.attributes {
            // What followed from it may have been changed elsewhere since: the directory has the last word.
            self.due(Due::All, &[row.user]).await?;
            return self.settle(Due::All, &[row.user]).await;
        }
        let mut batch = Batch::default();
        self.rename(&mut batch, kind, *id, &row.attributes, &attributes).await?;
        let after =
            ResourceRow { attributes, modified_ms: self.0.clock.now_ms(), revision: row.revision + 1, ..row.clone() };
        batch.expect_version(&RESOURCES, &(kind.code(), *id), Some(*at));
        batch.put(&RESOURCES, &(kind.code(), *id), &Json(after));
        batch.put(&DUE, &(row.user, Due::All.code()), &());
        self.0.store.commit(batch).await?;
        self.settle(Due::All, &[row.user]).await
    }

    pub(crate) async fn delete_user(&self, stored: &Stored) -> Result<(), ScimError> {
        let kind = ResourceKind::User;
        let Stored { id, row, at } = stored;
        let mut batch = Batch::default();
        self.rename(&mut batch, kind, *id, &row.attributes, &Map::new()).await?;
        batch.expect_version(&RESOURCES, &(kind.code(), *id), Some(*at));
        batch.delete(&RESOURCES, &(kind.code(), *id));
        for group in self.linked(kind, *id).await? {
            batch.delete(&MEMBERS, &(group, *id));
            batch.delete(&MEMBER_OF, &(*id, group));
            self.count_change(&mut batch, group).await?;
        }
        let owner = self.0.store.latest().get(&OWNERS, &row.user).await?.map(|Packed(owner)| owner).unwrap_or_default();
        batch.put(&OWNERS, &row.user, &Packed(OwnerRow { resource: None, ..owner }));
        batch.put(&DUE, &(row.user, Due::All.code()), &());
        self.0.store.commit(batch).await?;
        self.settle(Due::All, &[row.user]).await
    }

    /// Counts a change of a group that lost a member.
    async fn count_change(&self, batch: &mut Batch, group: u64) -> Result<(), ScimError> {
        let kind = ResourceKind::Group;
        if let Some(Stored { row, .. }) = self.stored(kind, group).await? {
            let (modified_ms, revision) = (self.0.clock.now_ms(), row.revision + 1);
            batch.put(&RESOURCES, &(kind.code(), group), &Json(ResourceRow { modified_ms, revision, ..row }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_active, shown_name};

    #[test]
    fn names_are_taken_from_what_is_there() {
        let name = |value: serde_json::Value| shown_name(value.as_object().unwrap());
        assert_eq!(name(json!({ "displayName": "Dr. A", "name": { "formatted": "B" } })).unwrap(), "Dr. A");
        assert_eq!(name(json!({ "displayName": " ", "name": { "formatted": "B" } })).unwrap(), "B");
        assert_eq!(name(json!({ "name": { "givenName": "A", "familyName": "B" } })).unwrap(), "A B");
        assert_eq!(name(json!({ "name": { "familyName": "B" } })).unwrap(), "B");
        assert_eq!(name(json!({ "userName": "x" })), None);
        assert!(is_active(json!({}).as_object().unwrap()));
        assert!(!is_active(json!({ "active": false }).as_object().unwrap()));
    }
}
