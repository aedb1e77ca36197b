//! Filters: section "Filtering". A filter's id is the keyed hash of its JSON, so that the same filter uploaded by each
//! start of a client is stored once.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quick_cache::sync::Cache;
use ruma::api::client::filter::FilterDefinition;
use wardroom_store::{Batch, Hash16, Scan};

use crate::{
    AccountError, Accounts, UserNid,
    tables::{FILTERS, domain},
};

/// Largest filter, in bytes of JSON.
pub const FILTER_BYTES_MAX: usize = 64 * 1_024;
/// Different filters of one user.
pub const FILTERS_PER_USER_MAX: usize = 1_000;
/// Parsed filters kept in memory, about 1 KB each: those of the clients that sync now.
const FILTERS_CACHED_MAX: usize = 2_048;

/// Parsed filters by user and hash.
pub(crate) struct FilterCache(Cache<(u64, Hash16), Arc<FilterDefinition>>);

impl Default for FilterCache {
    fn default() -> Self {
        Self(Cache::new(FILTERS_CACHED_MAX))
    }
}

impl Accounts {
    /// Stores a filter and returns its id.
    ///
    /// # Errors
    /// [`AccountError::Limit`], or the store's.
    pub async fn create_filter(&self, user: UserNid, filter: &FilterDefinition) -> Result<String, AccountError> {
        let invalid = |_| AccountError::Invalid { field: "filter", problem: "is not JSON" };
        let json = serde_json::to_string(filter).map_err(invalid)?;
        if json.len() > FILTER_BYTES_MAX {
            return Err(AccountError::Limit { what: "The size of the filter, in bytes,", limit: FILTER_BYTES_MAX });
        }
        let hash = self.0.store.keyed_hash(domain::FILTER, json.as_bytes());
        let key = (user.get(), hash);
        let view = self.0.store.latest();
        if view.get(&FILTERS, &key).await?.is_none() {
            let scan = Scan::prefix(&user.get()).limit(FILTERS_PER_USER_MAX);
            if view.scan_keys(&FILTERS, scan).await?.len() >= FILTERS_PER_USER_MAX {
                return Err(AccountError::Limit { what: "The number of your filters", limit: FILTERS_PER_USER_MAX });
            }
            let mut batch = Batch::default();
            // Two that store the same at the same time write the same.
            batch.put_sealed(&FILTERS, &key, &json, &self.person_key(user).await?);
            self.0.store.commit(batch).await?;
        }
        Ok(URL_SAFE_NO_PAD.encode(hash))
    }

    /// The filter with that id, parsed, `None` when the user has no such filter.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn filter(&self, user: UserNid, id: &str) -> Result<Option<Arc<FilterDefinition>>, AccountError> {
        let mut hash = Hash16::default();
        if !matches!(URL_SAFE_NO_PAD.decode_slice(id, &mut hash), Ok(length) if length == hash.len()) {
            return Ok(None);
        }
        let key = (user.get(), hash);
        if let Some(filter) = self.0.filters.0.get(&key) {
            return Ok(Some(filter));
        }
        let Some(json) = self.0.store.latest().get(&FILTERS, &key).await? else { return Ok(None) };
        let filter: FilterDefinition = serde_json::from_str(&json).map_err(|_| AccountError::Damaged("filter"))?;
        let filter = Arc::new(filter);
        self.0.filters.0.insert(key, Arc::clone(&filter));
        Ok(Some(filter))
    }
}
