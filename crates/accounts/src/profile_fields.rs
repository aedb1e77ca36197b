//! Fields of a profile beyond name and picture: section "Profiles", the time zone and those of one's own choice.
//!
//! They are kept together in one row per user, as JSON texts by key, and read and written as a whole: a profile is small.

use std::collections::BTreeMap;

use ruma::UserId;
use serde_json::value::RawValue;
use wardroom_store::{Batch, Json};

use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
    profile::Profile,
    tables::{PROFILE_FIELDS, PROFILES, USERS},
};

/// Largest profile, in bytes of its JSON.
pub const PROFILE_BYTES_MAX: usize = 64 * 1_024;
/// Longest key, in bytes.
pub const PROFILE_KEY_BYTES_MAX: usize = 255;
/// Longest time zone, in bytes.
const TIME_ZONE_BYTES_MAX: usize = 255;

/// The key of the user's time zone.
const TIME_ZONE: &str = "m.tz";

/// Values by key, each as the client wrote it.
pub type ProfileFields = BTreeMap<String, Box<RawValue>>;

/// Checks the key of a field (client-server API, `PUT /profile/{userId}/{keyName}`).
///
/// # Errors
/// [`AccountError::ProfileKeyTooLarge`], or [`AccountError::Invalid`] for what is no namespaced identifier.
fn check_key(key: &str) -> Result<(), AccountError> {
    if key.len() > PROFILE_KEY_BYTES_MAX {
        return Err(AccountError::ProfileKeyTooLarge);
    }
    let starts_well = key.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let parts = key.split('.').count();
    if !starts_well || !key.bytes().all(allowed) || parts < 2 || key.split('.').any(str::is_empty) {
        let problem = "is none of displayname, avatar_url, m.tz, and no namespaced identifier";
        return Err(AccountError::Invalid { field: "keyName", problem });
    }
    Ok(())
}

fn check_value(key: &str, value: &RawValue) -> Result<(), AccountError> {
    if key != TIME_ZONE {
        return Ok(());
    }
    match serde_json::from_str::<String>(value.get()) {
        Ok(zone) if zone.len() <= TIME_ZONE_BYTES_MAX => Ok(()),
        _ => Err(AccountError::Invalid { field: TIME_ZONE, problem: "is not the name of a time zone" }),
    }
}

/// Bytes of the whole profile as JSON, about.
fn size(profile: &Profile, fields: &ProfileFields) -> usize {
    let own = |key: &str, value: &Option<String>| value.as_ref().map_or(0, |value| key.len() + value.len() + 6);
    let base = own("displayname", &profile.displayname) + own("avatar_url", &profile.avatar_url) + 2;
    fields.iter().map(|(key, value)| key.len() + value.get().len() + 4).sum::<usize>() + base
}

impl Accounts {
    /// The further fields of a user's profile, `None` when there is no such active user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile_fields(&self, user: &UserId) -> Result<Option<ProfileFields>, AccountError> {
        let Some((nid, row, _)) = self.user_row(user).await? else { return Ok(None) };
        if row.deactivated {
            return Ok(None);
        }
        let stored = self.0.store.latest().get(&PROFILE_FIELDS, &nid.get()).await?;
        Ok(Some(stored.map(|Json(fields)| fields).unwrap_or_default()))
    }

    /// Sets one of the further fields, or removes it with `None`.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::ProfileKeyTooLarge`],
    /// [`AccountError::ProfileTooLarge`], [`AccountError::Invalid`], or the store's.
    pub async fn set_profile_field(
        &self,
        user: &UserId,
        key: &str,
        value: Option<&RawValue>,
    ) -> Result<(), AccountError> {
        check_key(key)?;
        if let Some(value) = value {
            check_value(key, value)?;
        }
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, user_version) = self.active_row(user).await?;
            let view = self.0.store.latest();
            let stored = view.get_versioned(&PROFILE_FIELDS, &nid.get()).await?;
            let (mut fields, version) = match stored {
                Some((Json(fields), version)) => (fields, Some(version)),
                None => (ProfileFields::default(), None),
            };
            match value {
                Some(value) => drop(fields.insert(key.to_owned(), value.to_owned())),
                None if fields.remove(key).is_none() => return Ok(()),
                None => {}
            }
            let profile = view.get(&PROFILES, &nid.get()).await?.map(|profile| profile.0).unwrap_or_default();
            if value.is_some() && size(&profile, &fields) > PROFILE_BYTES_MAX {
                return Err(AccountError::ProfileTooLarge);
            }
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(user_version));
            batch.expect_version(&PROFILE_FIELDS, &nid.get(), version);
            if fields.is_empty() {
                batch.delete(&PROFILE_FIELDS, &nid.get());
            } else {
                batch.put_sealed(&PROFILE_FIELDS, &nid.get(), &Json(fields), &self.person_key(nid).await?);
            }
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::{PROFILE_KEY_BYTES_MAX, check_key};
    use crate::AccountError;

    #[test]
    fn keys_are_namespaced_identifiers() {
        for good in ["m.tz", "org.example.ward", "us.cloke.msc4175.tz", "a.b-c_d", "m.2"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in ["", "ward", "Org.example", "org..example", ".a.b", "a.b.", "a.b c", "1.a", "a.é", "a/b.c"] {
            assert!(matches!(check_key(bad), Err(AccountError::Invalid { .. })), "{bad}");
        }
        let long = format!("a.{}", "b".repeat(PROFILE_KEY_BYTES_MAX - 2));
        assert!(check_key(&long).is_ok());
        assert!(matches!(check_key(&format!("{long}b")), Err(AccountError::ProfileKeyTooLarge)));
    }
}
