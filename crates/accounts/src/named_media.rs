//! Media that accounts name: pictures of profiles, and packs of stickers and emoticons in account data.

use std::collections::HashSet;

use wardroom_store::{Packed, Scan};

use crate::{
    AccountError, Accounts,
    account_data::DataScope,
    tables::{ACCOUNT_DATA, PROFILE_FIELDS, PROFILES},
    user::UserNid,
};

/// Types of account data that hold a user's own pack (MSC2545).
const PACK_TYPES: [&str; 2] = ["im.ponies.user_emotes", "m.image_pack"];
/// Accounts that are read at a time.
const PAGE_ACCOUNTS: usize = 1_000;

impl Accounts {
    /// Those of these `mxc://` URIs that an account of this server names: as the picture of its profile, in another field of
    /// it, or in its own pack of images.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn naming_media(&self, uris: &HashSet<String>) -> Result<HashSet<String>, AccountError> {
        let mut named = HashSet::new();
        if uris.is_empty() {
            return Ok(named);
        }
        let view = self.0.store.latest();
        let mut scan = Scan::all().limit(PAGE_ACCOUNTS);
        loop {
            let page = view.scan(&PROFILES, scan).await?;
            let Some((last, _)) = page.last() else { break };
            scan = Scan::all().after(last).limit(PAGE_ACCOUNTS);
            let pictures = page.into_iter().filter_map(|(_, Packed(profile))| profile.avatar_url);
            named.extend(pictures.filter(|uri| uris.contains(uri)));
            tokio::task::consume_budget().await;
        }
        let mut scan = Scan::all().limit(PAGE_ACCOUNTS);
        loop {
            let page = view.scan(&PROFILE_FIELDS, scan).await?;
            let Some((last, _)) = page.last() else { break };
            scan = Scan::all().after(last).limit(PAGE_ACCOUNTS);
            for (_, fields) in &page {
                add_named(&serde_json::to_string(&fields.0).unwrap_or_default(), uris, &mut named);
            }
            tokio::task::consume_budget().await;
        }
        self.add_named_by_packs(uris, &mut named).await?;
        Ok(named)
    }

    async fn add_named_by_packs(
        &self,
        uris: &HashSet<String>,
        named: &mut HashSet<String>,
    ) -> Result<(), AccountError> {
        let view = self.0.store.latest();
        let mut scan = Scan::all().limit(PAGE_ACCOUNTS);
        loop {
            let users = view.scan_keys(&crate::tables::USERS, scan).await?;
            let Some(last) = users.last() else { return Ok(()) };
            scan = Scan::all().after(last).limit(PAGE_ACCOUNTS);
            let key = |user: u64, kind| self.account_data_key(UserNid::new(user), DataScope::Global, kind);
            let keys: Vec<_> = users.iter().flat_map(|user| PACK_TYPES.map(|kind| key(*user, kind))).collect();
            for Packed(row) in view.multi_get(&ACCOUNT_DATA, &keys).await?.into_iter().flatten() {
                add_named(&row.content, uris, named);
            }
            tokio::task::consume_budget().await;
        }
    }
}

/// Adds those of the URIs that a JSON text names as a whole text of its own.
fn add_named(json: &str, uris: &HashSet<String>, named: &mut HashSet<String>) {
    // A solidus may be escaped in JSON.
    let json = json.replace("\\/", "/");
    for (start, _) in json.match_indices("mxc://") {
        let text = json[start..].split('"').next().unwrap_or_default();
        if let Some(uri) = uris.get(text) {
            named.insert(uri.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::add_named;

    #[test]
    fn uris_are_found_in_json() {
        let uris: HashSet<String> =
            ["mxc://a.example/x", "mxc://a.example/y", "mxc://a.example/z"].map(Into::into).into();
        let json = r#"{"images":{"a":{"url":"mxc://a.example/x"},"b":{"url":"mxc:\/\/a.example\/y"},"c":"mxc://a.example/zz"}}"#;
        let mut named = HashSet::new();
        add_named(json, &uris, &mut named);
        assert_eq!(named, ["mxc://a.example/x", "mxc://a.example/y"].map(Into::into).into());
    }
}
