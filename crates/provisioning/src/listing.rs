//! Lists of resources (RFC 7644, section 3.4.2): filtered, in order, a page at a time.

use serde_json::{Value, json};
use wardroom_store::{Json, Scan};

use crate::{
    Provisioning, Query, ScimError,
    filter::{Filter, Name, folded},
    resources::{Stored, id_of},
    schema::ResourceKind,
    tables::{NAMES, RESOURCES},
};

/// Resources read at once.
const ROWS_PER_READ: usize = 500;
/// Resources that may be found by a request, before the page is cut out.
const FOUND_MAX: usize = 1_000_000;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many there are in all.
    pub total: usize,
    /// The number of the first on this page, from 1 on.
    pub start: usize,
    /// What is on it.
    pub resources: Vec<Value>,
}

/// A resource that was found, with what it is ordered by.
type Found = (Option<String>, ResourceKind, u64);

impl Provisioning {
    /// A page of the resources of these kinds that meet what is asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, kinds: &[ResourceKind], query: &Query) -> Result<Page, ScimError> {
        let mut found: Vec<Found> = Vec::new();
        for kind in kinds {
            self.find(*kind, query, &mut found).await?;
        }
        if query.sort_by.is_some() {
            // Those without the attribute come last, or first the other way round.
            found.sort_by(|(a, _, a_id), (b, _, b_id)| (a.is_none(), a, a_id).cmp(&(b.is_none(), b, b_id)));
            if query.descending {
                found.reverse();
            }
        }
        let mut resources = Vec::new();
        for (_, kind, id) in found.iter().skip(query.start - 1).take(query.count) {
            if let Some(stored) = self.stored(*kind, *id).await? {
                resources.push(self.show(*kind, &stored, &query.shown).await?.value);
            }
        }
        Ok(Page { total: found.len(), start: query.start, resources })
    }

    async fn find(&self, kind: ResourceKind, query: &Query, found: &mut Vec<Found>) -> Result<(), ScimError> {
        if let Some(filter) = &query.filter
            && let Some(candidates) = self.candidates(kind, filter).await?
        {
            for id in candidates {
                if let Some(stored) = self.stored(kind, id).await? {
                    self.consider(kind, &stored, query, found).await?;
                }
            }
            return Ok(());
        }
        let _turn = self.0.scans.acquire().await;
        let prefix = || Scan::prefix(&kind.code());
        let mut scan = prefix();
        loop {
            let last = if query.filter.is_none() && query.sort_by.is_none() {
                let keys = self.0.store.latest().scan_keys(&RESOURCES, scan.limit(ROWS_PER_READ)).await?;
                found.extend(keys.iter().map(|(_, id)| (None, kind, *id)));
                keys.last().copied().filter(|_| keys.len() == ROWS_PER_READ)
            } else {
                let rows = self.0.store.latest().scan_versioned(&RESOURCES, scan.limit(ROWS_PER_READ)).await?;
                let last = rows.last().map(|(key, ..)| *key).filter(|_| rows.len() == ROWS_PER_READ);
                for ((_, id), Json(row), at) in rows {
                    self.consider(kind, &Stored { id, row, at }, query, found).await?;
                }
                last
            };
            if found.len() > FOUND_MAX {
                return Err(ScimError::TooMany(format!("More than {FOUND_MAX} resources were found.")));
            }
            match last {
                Some(last) => scan = prefix().after(&last),
                None => return Ok(()),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Takes a resource into the list if it meets the filter.
    async fn consider(
        &self,
        kind: ResourceKind,
        stored: &Stored,
        query: &Query,
        found: &mut Vec<Found>,
    ) -> Result<(), ScimError> {
        let links = if kind == ResourceKind::User { "groups" } else { "members" };
        let mut resource = self.plain(kind, stored, "");
        if query.filter.as_ref().is_some_and(|filter| filter.mentions(links)) {
            resource[links] = json!(self.shown_links(kind, stored.id).await?);
        }
        if query.filter.as_ref().is_none_or(|filter| filter.is_met_by(&resource)) {
            let order = query.sort_by.as_ref().and_then(|name| order_of(name, &resource));
            found.push((order, kind, stored.id));
        }
        Ok(())
    }

    /// The only resources that can meet a filter, where an index says so.
    async fn candidates(&self, kind: ResourceKind, filter: &Filter) -> Result<Option<Vec<u64>>, ScimError> {
        if let Some(id) = filter.demands("id") {
            return Ok(Some(id_of(id).into_iter().collect()));
        }
        let named = match kind {
            ResourceKind::User => filter.demands("username").map(|name| self.name_hash(kind, 1, &folded(name))),
            ResourceKind::Group => None,
        };
        let named = named.or_else(|| filter.demands("externalid").map(|name| self.name_hash(kind, 2, name)));
        if let Some(hash) = named {
            let id = self.0.store.latest().get(&NAMES, &hash).await?;
            return Ok(Some(id.into_iter().collect()));
        }
        let (links, other) = match kind {
            ResourceKind::User => ("groups", ResourceKind::Group),
            ResourceKind::Group => ("members", ResourceKind::User),
        };
        match filter.demands(links) {
            None => Ok(None),
            Some(id) => match id_of(id) {
                None => Ok(Some(Vec::new())),
                Some(id) => Ok(Some(self.linked(other, id).await?)),
            },
        }
    }
}

/// What a resource is ordered by: the first choice among several values, or the first.
fn order_of(name: &Name, resource: &Value) -> Option<String> {
    let values = name.values(resource);
    let primary = values.iter().find(|value| value["primary"] == true).or(values.first())?;
    let value = if primary.is_object() { &primary["value"] } else { *primary };
    match value {
        Value::String(text) => Some(folded(text)),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
