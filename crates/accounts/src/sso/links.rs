//! Whose account a person of an identity provider has.

use std::fmt;

use ruma::OwnedUserId;
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, Hash16, Packed, Scan};

use super::{
    SsoIdentity,
    tables::{LinkRow, SSO_SUBJECTS, SSO_USERS},
};
use crate::{
    AccountError, Accounts, NewUser, User, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    profile::DISPLAY_NAME_CHARS_MAX,
    tables::USERS,
    user_name::new_user_id,
};

/// Persons of different providers who may have one account.
pub const SSO_LINKS_PER_USER_MAX: usize = 100;
/// Longest e-mail address that is kept, in bytes (RFC 5321, section 4.5.3.1, has 64 and 255 around the sign).
pub const SSO_EMAIL_BYTES_MAX: usize = 320;

/// What becomes of a person who has no account yet.
#[derive(Clone, Copy)]
pub struct SsoNewcomer<'a> {
    /// The localpart of their account.
    pub localpart: &'a str,
    /// Display name of a new profile; the localpart without it. What is too long is cut.
    pub display_name: Option<&'a str>,
    /// Whether an account that has this localpart already becomes theirs.
    pub link_existing: bool,
}

impl fmt::Debug for SsoNewcomer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SsoNewcomer").field("link_existing", &self.link_existing).finish_non_exhaustive()
    }
}

/// A person of an identity provider who has an account.
#[derive(Clone, PartialEq, Eq)]
pub struct SsoLink {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The person at this issuer.
    pub subject: String,
    /// Their e-mail address, as of their last sign-in.
    pub email: Option<String>,
    /// When the account became theirs, in milliseconds since the epoch.
    pub linked_ms: u64,
}

impl fmt::Debug for SsoLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SsoLink").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Accounts {
    /// The user whose account a person has, deactivated or not; `None` when the person was never here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sso_user(&self, identity: &SsoIdentity<'_>) -> Result<Option<OwnedUserId>, AccountError> {
        let subject = self.subject_hash(identity.issuer, identity.subject);
        let Some(nid) = self.0.store.latest().get(&SSO_SUBJECTS, &subject).await? else { return Ok(None) };
        Ok(Some(self.user_id(UserNid::new(nid)).await?))
    }

    /// The account of a person, which is made when they are here for the first time.
    ///
    /// # Errors
    /// [`AccountError::Deactivated`] when it was closed: a person gets no second one. [`AccountError::Locked`],
    /// [`AccountError::NotLinked`] when somebody else has the name, [`AccountError::InvalidUsername`], or the store's.
    pub async fn sso_account(
        &self,
        identity: &SsoIdentity<'_>,
        newcomer: Option<&SsoNewcomer<'_>>,
    ) -> Result<User, AccountError> {
        let subject = self.subject_hash(identity.issuer, identity.subject);
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let known = self.0.store.latest().get(&SSO_SUBJECTS, &subject).await?;
            let outcome = match (known, newcomer) {
                (Some(nid), _) => self.known_person(UserNid::new(nid), subject, identity).await?,
                (None, Some(newcomer)) => self.new_person(subject, identity, newcomer).await?,
                (None, None) => return Err(AccountError::NotLinked),
            };
            if let Some(user) = outcome {
                return Ok(user);
            }
        }
        Err(AccountError::Contended)
    }

    /// `None` when another commit got in between.
    async fn known_person(
        &self,
        nid: UserNid,
        subject: Hash16,
        identity: &SsoIdentity<'_>,
    ) -> Result<Option<User>, AccountError> {
        let user = self.user_by_nid(nid).await?.ok_or(AccountError::Damaged("link to an identity provider"))?;
        if user.deactivated {
            return Err(AccountError::Deactivated);
        }
        self.check_unlocked(nid).await?;
        let stored = self.0.store.latest().get_versioned(&SSO_USERS, &(nid.get(), subject)).await?;
        let Some((Packed(row), version)) = stored else { return Ok(None) };
        let email = kept_email(identity);
        if row.email.as_deref() == email {
            return Ok(Some(user));
        }
        let mut batch = Batch::default();
        batch.expect_version(&SSO_USERS, &(nid.get(), subject), Some(version));
        let row = LinkRow { email: email.map(str::to_owned), ..row };
        batch.put_sealed(&SSO_USERS, &(nid.get(), subject), &Packed(row), &self.person_key(nid).await?);
        Ok(settled(self.0.store.commit(batch).await)?.map(|_| user))
    }

    /// `None` when another commit got in between.
    async fn new_person(
        &self,
        subject: Hash16,
        identity: &SsoIdentity<'_>,
        newcomer: &SsoNewcomer<'_>,
    ) -> Result<Option<User>, AccountError> {
        let id = new_user_id(newcomer.localpart, &self.0.settings.server_name)?;
        if self.is_own_user(&id) {
            return Err(AccountError::NotLinked);
        }
        let (mut batch, user) = match self.user_row(&id).await? {
            None => {
                let name = newcomer.display_name.map(shortened);
                let new = NewUser { display_name: name.as_deref(), ..NewUser::named(newcomer.localpart) };
                let (batch, registered) = self.new_user_batch(&id, &new, None, None).await?;
                (batch, registered.user)
            }
            Some((nid, row, version)) => {
                // The name stays with whom it belonged to, also after they have left.
                let free = newcomer.link_existing && !row.guest && !row.deactivated;
                if !free || self.has_link_of(nid, identity.issuer).await? {
                    return Err(AccountError::NotLinked);
                }
                self.check_unlocked(nid).await?;
                let user = User::from_row(id, nid, &row);
                let mut batch = Batch::default();
                // Written, not only expected: of two persons who are after the same account one comes too late.
                batch.expect_version(&USERS, &nid.get(), Some(version));
                batch.put(&USERS, &nid.get(), &Packed(row));
                (batch, user)
            }
        };
        let row = LinkRow {
            issuer: identity.issuer.to_owned(),
            subject: identity.subject.to_owned(),
            email: kept_email(identity).map(str::to_owned),
            linked_ms: self.now_ms(),
        };
        let mut record = Record::of(Act::AccountChange).user(user.id.as_str()).detail("provider.link");
        record.who.subject.get_or_insert_with(|| identity.subject.to_owned());
        self.record(&mut batch, record);
        batch.expect_absent(&SSO_SUBJECTS, &subject);
        batch.put(&SSO_SUBJECTS, &subject, &user.nid.get());
        batch.put_sealed(&SSO_USERS, &(user.nid.get(), subject), &Packed(row), &self.person_key(user.nid).await?);
        Ok(settled(self.0.store.commit(batch).await)?.map(|_| user))
    }

    /// Whether another person of the same issuer has the account: two persons are never one.
    async fn has_link_of(&self, user: UserNid, issuer: &str) -> Result<bool, AccountError> {
        let links = self.sso_links(user).await?;
        Ok(links.len() >= SSO_LINKS_PER_USER_MAX || links.iter().any(|link| link.issuer == issuer))
    }

    /// The persons who have the user's account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sso_links(&self, user: UserNid) -> Result<Vec<SsoLink>, AccountError> {
        let rows = self.0.store.latest().scan(&SSO_USERS, Scan::prefix(&user.get())).await?;
        let link = |LinkRow { issuer, subject, email, linked_ms }| SsoLink { issuer, subject, email, linked_ms };
        Ok(rows.into_iter().map(|(_, Packed(row))| link(row)).collect())
    }
}

/// The e-mail address, unless it is too long to be one.
fn kept_email<'a>(identity: &SsoIdentity<'a>) -> Option<&'a str> {
    identity.email.filter(|email| !email.is_empty() && email.len() <= SSO_EMAIL_BYTES_MAX)
}

/// As much of a name as a display name may be long.
fn shortened(name: &str) -> String {
    name.chars().take(DISPLAY_NAME_CHARS_MAX).collect()
}
