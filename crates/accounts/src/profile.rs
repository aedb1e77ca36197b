//! Profiles of this server's users: section "Profiles".

use ruma::{MxcUri, UserId};
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Packed};

use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{PROFILES, USERS},
};

/// Longest display name, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 256;
/// Longest avatar URL, in bytes.
pub const AVATAR_URL_BYTES_MAX: usize = 1_000;

/// How a user wants to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Name for people.
    pub displayname: Option<String>,
    /// `mxc://` URI of a picture.
    pub avatar_url: Option<String>,
}

impl Profile {
    pub(crate) fn check(&self) -> Result<(), AccountError> {
        if self.displayname.as_ref().is_some_and(|name| name.chars().count() > DISPLAY_NAME_CHARS_MAX) {
            let what = "The length of displayname, in characters,";
            return Err(AccountError::Limit { what, limit: DISPLAY_NAME_CHARS_MAX });
        }
        if self.avatar_url.as_ref().is_some_and(|url| url.len() > AVATAR_URL_BYTES_MAX) {
            return Err(AccountError::Limit {
                what: "The length of avatar_url, in bytes,",
                limit: AVATAR_URL_BYTES_MAX,
            });
        }
        if self.avatar_url.as_ref().is_some_and(|url| !<&MxcUri>::from(url.as_str()).is_valid()) {
            return Err(AccountError::Invalid { field: "avatar_url", problem: "is not an mxc:// URI" });
        }
        Ok(())
    }
}

impl Accounts {
    /// The profile of a user of this server, empty when nothing is set, `None` when there is no such active user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile(&self, user: &UserId) -> Result<Option<Profile>, AccountError> {
        let Some((nid, row, _)) = self.user_row(user).await? else { return Ok(None) };
        if row.deactivated {
            return Ok(None);
        }
        let stored = self.0.store.latest().get(&PROFILES, &nid.get()).await?;
        Ok(Some(stored.map(|Packed(profile)| profile).unwrap_or_default()))
    }

    /// Changes the display name and returns the new profile, which has to be carried into the user's rooms.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::Limit`], or the store's.
    pub async fn set_displayname(&self, user: &UserId, name: Option<&str>) -> Result<Profile, AccountError> {
        self.change_profile(user, |profile| profile.displayname = name.map(str::to_owned)).await
    }

    /// Changes the picture and returns the new profile, which has to be carried into the user's rooms.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::Limit`],
    /// [`AccountError::Invalid`], or the store's.
    pub async fn set_avatar_url(&self, user: &UserId, url: Option<&MxcUri>) -> Result<Profile, AccountError> {
        self.change_profile(user, |profile| profile.avatar_url = url.map(|url| url.as_str().to_owned())).await
    }

    async fn change_profile(&self, user: &UserId, change: impl Fn(&mut Profile)) -> Result<Profile, AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, user_version) = self.active_row(user).await?;
            let stored = self.0.store.latest().get_versioned(&PROFILES, &nid.get()).await?;
            let (mut profile, version) = match stored {
                Some((Packed(profile), version)) => (profile, Some(version)),
                None => (Profile::default(), None),
            };
            let before = profile.clone();
            change(&mut profile);
            if profile == before {
                return Ok(profile);
            }
            profile.check()?;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(user_version));
            batch.expect_version(&PROFILES, &nid.get(), version);
            batch.put_sealed(&PROFILES, &nid.get(), &Packed(profile.clone()), &self.person_key(nid).await?);
            self.0.directory.put_on_commit(&mut batch, nid, user, profile.displayname.as_deref());
            self.0.listing.changed_on_commit(&mut batch, nid);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(profile);
            }
        }
        Err(AccountError::Contended)
    }
}
