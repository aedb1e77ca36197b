//! What users and groups have in common: finding, showing and changing one.

use serde_json::{Map, Value, json};
use wardroom_clock::timestamp;
use wardroom_store::{Batch, Hash16, Json, Position, Scan};

use crate::{
    Provisioning, Resource, ScimError,
    filter::folded,
    groups, patch,
    query::Shown,
    schema::{ENTERPRISE_URN, ResourceKind},
    tables::{MEMBER_OF, MEMBERS, NAME_DOMAIN, NAMES, RESOURCES, ResourceRow},
};

/// Groups of a user, or members of a group, read at once.
const ROWS_PER_READ: usize = 5_000;

/// A stored resource with its id.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: u64,
    pub(crate) row: ResourceRow,
    /// When the row was written.
    pub(crate) at: Position,
}

/// A change of a resource that a request asks for.
pub(crate) enum Change<'a> {
    Replace(&'a Value),
    Patch(&'a Value),
}

impl ResourceKind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Group => 2,
        }
    }
}

/// An id as it is shown.
pub(crate) fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

/// Reads an id; none where no resource can have it.
pub(crate) fn id_of(text: &str) -> Option<u64> {
    let good = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    good.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// An id that is not taken: 64 random bits, and the batch expects that they are new.
#[expect(clippy::disallowed_methods, reason = "an id only has to be new")]
pub(crate) fn new_id() -> u64 {
    use rand::RngExt as _;
    rand::rng().random_range(1..u64::MAX)
}

impl Provisioning {
    pub(crate) fn name_hash(&self, kind: ResourceKind, attribute: u8, name: &str) -> Hash16 {
        let mut bytes = vec![kind.code(), attribute];
        bytes.extend_from_slice(name.as_bytes());
        self.0.store.keyed_hash(NAME_DOMAIN, &bytes)
    }

    /// What nobody else may be called: `userName` in any case, and `externalId`.
    pub(crate) fn unique_names(
        &self,
        kind: ResourceKind,
        attributes: &Map<String, Value>,
    ) -> Vec<(&'static str, Hash16)> {
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        let mut names = Vec::with_capacity(2);
        if let Some(name) = text("userName").filter(|_| kind == ResourceKind::User) {
            names.push(("userName", self.name_hash(kind, 1, &folded(name))));
        }
        if let Some(name) = text("externalId") {
            names.push(("externalId", self.name_hash(kind, 2, name)));
        }
        names
    }

    /// Adds to a batch that a resource has these names now, and no others.
    pub(crate) async fn rename(
        &self,
        batch: &mut Batch,
        kind: ResourceKind,
        id: u64,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
    ) -> Result<(), ScimError> {
        let (before, after) = (self.unique_names(kind, before), self.unique_names(kind, after));
        for (_, gone) in before.iter().filter(|gone| !after.contains(gone)) {
            batch.delete(&NAMES, gone);
        }
        for (attribute, new) in &after {
            let owner = self.0.store.latest().get_versioned(&NAMES, new).await?;
            if owner.is_some_and(|(owner, _)| owner != id) {
                let sentence = format!("{attribute}: another resource has this value.");
                return Err(ScimError::Uniqueness(sentence));
            }
            batch.expect_version(&NAMES, new, owner.map(|(_, at)| at));
            batch.put(&NAMES, new, &id);
        }
        Ok(())
    }

    /// A resource by its number.
    pub(crate) async fn stored(&self, kind: ResourceKind, id: u64) -> Result<Option<Stored>, ScimError> {
        let found = self.0.store.latest().get_versioned(&RESOURCES, &(kind.code(), id)).await?;
        Ok(found.map(|(Json(row), at)| Stored { id, row, at }))
    }

    /// A resource by the id in a path.
    pub(crate) async fn named(&self, kind: ResourceKind, id: &str) -> Result<Stored, ScimError> {
        let id = id_of(id).ok_or(ScimError::NotFound)?;
        self.stored(kind, id).await?.ok_or(ScimError::NotFound)
    }

    /// The other ends of a resource's memberships.
    pub(crate) async fn linked(&self, kind: ResourceKind, id: u64) -> Result<Vec<u64>, ScimError> {
        let table = if kind == ResourceKind::User { &MEMBER_OF } else { &MEMBERS };
        let (mut linked, mut scan) = (Vec::new(), Scan::prefix(&id));
        loop {
            let rows = self.0.store.latest().scan_keys(table, scan.limit(ROWS_PER_READ)).await?;
            linked.extend(rows.iter().map(|(_, other)| *other));
            match rows.last() {
                Some(last) if rows.len() == ROWS_PER_READ => scan = Scan::prefix(&id).after(last),
                _ => return Ok(linked),
            }
        }
    }

    /// A resource.
    ///
    /// # Errors
    /// [`ScimError::NotFound`]; when the store fails.
    pub async fn get(&self, kind: ResourceKind, id: &str, shown: &Shown) -> Result<Resource, ScimError> {
        let stored = self.named(kind, id).await?;
        self.show(kind, &stored, shown).await
    }

    /// Makes a resource. A user of this server is made, or found, for a new user.
    ///
    /// # Errors
    /// [`ScimError::InvalidValue`], [`ScimError::Uniqueness`]; when the store or an account fails.
    pub async fn create(&self, kind: ResourceKind, body: &Value, shown: &Shown) -> Result<Resource, ScimError> {
        let _alone = self.0.changing.lock().await;
        let id = match kind {
            ResourceKind::User => self.create_user(body).await?,
            ResourceKind::Group => self.create_group(body).await?,
        };
        let stored = self.stored(kind, id).await?.ok_or(ScimError::Damaged("resource"))?;
        self.show(kind, &stored, shown).await
    }

    /// Replaces a resource by another, if it is at the version that is named.
    ///
    /// # Errors
    /// [`ScimError::NotFound`], [`ScimError::Precondition`], and as [`Provisioning::create`].
    pub async fn replace(
        &self,
        kind: ResourceKind,
        id: &str,
        body: &Value,
        if_match: Option<&str>,
        shown: &Shown,
    ) -> Result<Resource, ScimError> {
        self.change(kind, id, Change::Replace(body), if_match, shown).await
    }

    /// Changes parts of a resource, if it is at the version that is named.
    ///
    /// # Errors
    /// As [`Provisioning::replace`], and those of paths.
    pub async fn patch(
        &self,
        kind: ResourceKind,
        id: &str,
        body: &Value,
        if_match: Option<&str>,
        shown: &Shown,
    ) -> Result<Resource, ScimError> {
        self.change(kind, id, Change::Patch(body), if_match, shown).await
    }

    async fn change(
        &self,
        kind: ResourceKind,
        id: &str,
        change: Change<'_>,
        if_match: Option<&str>,
        shown: &Shown,
    ) -> Result<Resource, ScimError> {
        let _alone = self.0.changing.lock().await;
        let stored = self.named(kind, id).await?;
        self.check_version(kind, &stored, if_match).await?;
        match kind {
            ResourceKind::User => self.change_user(&stored, &change).await?,
            ResourceKind::Group => self.change_group(&stored, &change).await?,
        }
        let stored = self.named(kind, id).await?;
        self.show(kind, &stored, shown).await
    }

    /// Deletes a resource, if it is at the version that is named. A user's access ends, the account stays.
    ///
    /// # Errors
    /// [`ScimError::NotFound`], [`ScimError::Precondition`]; when the store or an account fails.
    pub async fn delete(&self, kind: ResourceKind, id: &str, if_match: Option<&str>) -> Result<(), ScimError> {
        let _alone = self.0.changing.lock().await;
        let stored = self.named(kind, id).await?;
        self.check_version(kind, &stored, if_match).await?;
        match kind {
            ResourceKind::User => self.delete_user(&stored).await,
            ResourceKind::Group => self.delete_group(&stored).await,
        }
    }

    async fn check_version(&self, kind: ResourceKind, stored: &Stored, wanted: Option<&str>) -> Result<(), ScimError> {
        let Some(wanted) = wanted else { return Ok(()) };
        let version = self.version(kind, stored).await?;
        if is_one_of(&version, wanted) { Ok(()) } else { Err(ScimError::Precondition) }
    }

    /// The version of a resource. That of a user tells of changes of groups, too, which are shown with the user.
    async fn version(&self, kind: ResourceKind, stored: &Stored) -> Result<String, ScimError> {
        let revision = stored.row.revision;
        Ok(match kind {
            ResourceKind::Group => format!("W/\"{revision}\""),
            ResourceKind::User => {
                let groups = self.linked(kind, stored.id).await?;
                // FNV-1a over the ids of the groups.
                let mix = |hash: u64, group: &u64| (hash ^ group).wrapping_mul(0x0100_0000_01b3);
                let groups = groups.iter().fold(0xcbf2_9ce4_8422_2325, mix);
                format!("W/\"{revision}-{groups:x}\"")
            }
        })
    }

    /// A resource as it is shown.
    pub(crate) async fn show(&self, kind: ResourceKind, stored: &Stored, shown: &Shown) -> Result<Resource, ScimError> {
        let version = self.version(kind, stored).await?;
        let mut value = self.plain(kind, stored, &version);
        let location = value["meta"]["location"].as_str().unwrap_or_default().to_owned();
        let links = match kind {
            ResourceKind::User => "groups",
            ResourceKind::Group => "members",
        };
        if shown.shows(links) {
            let linked = self.shown_links(kind, stored.id).await?;
            if !linked.is_empty() {
                value[links] = Value::Array(linked);
            }
        }
        Ok(Resource { value: shown.apply(value), version, location })
    }

    /// A resource without its memberships.
    pub(crate) fn plain(&self, kind: ResourceKind, stored: &Stored, version: &str) -> Value {
        let Stored { id, row, .. } = stored;
        let mut resource = row.attributes.clone();
        let mut schemas = vec![kind.urn()];
        if resource.contains_key(ENTERPRISE_URN) {
            schemas.push(ENTERPRISE_URN);
        }
        resource.insert("schemas".to_owned(), json!(schemas));
        resource.insert("id".to_owned(), json!(id_text(*id)));
        if kind == ResourceKind::User {
            resource.entry("active").or_insert(Value::Bool(true));
        }
        let meta = json!({
            "resourceType": kind.name(),
            "created": timestamp::format(row.created_ms),
            "lastModified": timestamp::format(row.modified_ms),
            "location": self.location(kind, *id),
            "version": version,
        });
        resource.insert("meta".to_owned(), meta);
        Value::Object(resource)
    }

    fn location(&self, kind: ResourceKind, id: u64) -> String {
        format!("{}/{}/{}", self.0.settings.base_url, kind.endpoint(), id_text(id))
    }

    /// The groups of a user or the members of a group, as they are shown.
    pub(crate) async fn shown_links(&self, kind: ResourceKind, id: u64) -> Result<Vec<Value>, ScimError> {
        let linked = self.linked(kind, id).await?;
        if kind == ResourceKind::Group {
            let member = |id: u64| json!({ "value": id_text(id), "$ref": self.location(ResourceKind::User, id), "type": "User" });
            return Ok(linked.into_iter().map(member).collect());
        }
        let keys: Vec<(u8, u64)> = linked.iter().map(|id| (ResourceKind::Group.code(), *id)).collect();
        let rows = self.0.store.latest().multi_get(&RESOURCES, &keys).await?;
        let group = |(id, row): (u64, Option<Json<ResourceRow>>)| {
            let name = row.and_then(|Json(row)| row.attributes.get("displayName").cloned()).unwrap_or_default();
            let location = self.location(ResourceKind::Group, id);
            json!({ "value": id_text(id), "$ref": location, "display": name, "type": "direct" })
        };
        Ok(linked.into_iter().zip(rows).map(group).collect())
    }

    /// The attributes that a change leads to; what it does with members of a group is done with `members`.
    pub(crate) fn changed(
        kind: ResourceKind,
        before: &ResourceRow,
        change: &Change<'_>,
        members: &mut groups::Members,
    ) -> Result<Map<String, Value>, ScimError> {
        match change {
            Change::Replace(body) => {
                let body = members.replaced_by(kind, body)?;
                kind.read(&body)
            }
            Change::Patch(body) => {
                let mut resource = before.attributes.clone();
                for operation in patch::read(kind, body)? {
                    if kind == ResourceKind::Group && operation.attribute.name == "members" {
                        members.change(&operation)?;
                    } else {
                        patch::apply(&mut resource, &operation)?;
                    }
                }
                kind.read(&Value::Object(resource))
            }
        }
    }
}

/// Whether a version is in a list of entity tags, as in `If-Match`.
pub(crate) fn is_one_of(version: &str, tags: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.split(',').any(|tag| tag.trim() == "*" || bare(tag) == bare(version))
}

impl Resource {
    /// Whether its version is in a list of entity tags, as in `If-None-Match`.
    pub fn is_one_of(&self, tags: &str) -> bool {
        is_one_of(&self.version, tags)
    }
}
