//! What administrators note of a user besides the account: addresses elsewhere (third-party identifiers), identities at
//! other providers, and the kind of user. Nothing of it opens the account by itself.

use ruma::{UserId, thirdparty::Medium};
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Json, Position};

use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{IDENTITIES, IDENTITY_OWNERS, USERS, domain},
};

/// Addresses, and identities, that one user may have.
pub const IDENTITIES_PER_USER_MAX: usize = 100;
/// Longest address, provider or identity there, in bytes.
pub const IDENTITY_BYTES_MAX: usize = 500;

/// An address of a user outside Matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThirdPartyId {
    /// `email` or `msisdn`.
    pub medium: String,
    /// The address: e-mail addresses in lower case, telephone numbers in digits.
    pub address: String,
    /// When it was noted, in milliseconds since 1970.
    pub added_at: u64,
    /// When it was found to be the user's, in milliseconds since 1970.
    pub validated_at: u64,
}

/// Who a user is at another provider of identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalId {
    /// The provider's name here.
    pub auth_provider: String,
    /// The user's name there.
    pub external_id: String,
}

/// What is noted of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    /// Addresses.
    #[serde(default)]
    pub threepids: Vec<ThirdPartyId>,
    /// Identities at other providers.
    #[serde(default)]
    pub external_ids: Vec<ExternalId>,
    /// The kind of user, as `bot` or `support`; none for people.
    #[serde(default)]
    pub user_type: Option<String>,
}

/// What finds the owner: an address or an identity.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// Medium and address.
    ThirdParty(&'a str, &'a str),
    /// Provider and name there.
    External(&'a str, &'a str),
}

impl Identities {
    fn all(&self) -> impl Iterator<Item = Identity<'_>> {
        let threepids = self.threepids.iter().map(|id| Identity::ThirdParty(&id.medium, &id.address));
        threepids.chain(self.external_ids.iter().map(|id| Identity::External(&id.auth_provider, &id.external_id)))
    }

    fn check(&self) -> Result<(), AccountError> {
        if self.threepids.len() > IDENTITIES_PER_USER_MAX || self.external_ids.len() > IDENTITIES_PER_USER_MAX {
            let what = "The number of threepids or external_ids";
            return Err(AccountError::Limit { what, limit: IDENTITIES_PER_USER_MAX });
        }
        for identity in self.all() {
            let (Identity::ThirdParty(kind, name) | Identity::External(kind, name)) = identity;
            if kind.is_empty() || name.is_empty() || kind.len().max(name.len()) > IDENTITY_BYTES_MAX {
                let field = match identity {
                    Identity::ThirdParty(..) => "threepids",
                    Identity::External(..) => "external_ids",
                };
                return Err(AccountError::Invalid { field, problem: "has an empty or over-long part" });
            }
        }
        Ok(())
    }
}

/// An address as it is compared.
///
/// # Errors
/// [`AccountError::Invalid`] for media that there are none of, and for addresses that cannot be one.
pub fn canonical_address(medium: &str, address: &str) -> Result<String, AccountError> {
    let wrong = |problem| AccountError::Invalid { field: "threepids", problem };
    match Medium::from(medium) {
        Medium::Email if address.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) => {
            Ok(address.to_lowercase())
        }
        Medium::Email => Err(wrong("has an address that is no e-mail address")),
        Medium::Msisdn => {
            let digits: String = address.chars().filter(char::is_ascii_digit).collect();
            if digits.is_empty() { Err(wrong("has an address that is no telephone number")) } else { Ok(digits) }
        }
        _ => Err(wrong("has a medium other than email and msisdn")),
    }
}

impl Accounts {
    fn identity_hash(&self, identity: Identity<'_>) -> Hash16 {
        let (tag, kind, name) = match identity {
            Identity::ThirdParty(kind, name) => (0_u8, kind, name),
            Identity::External(kind, name) => (1, kind, name),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        self.0.store.keyed_hash(domain::IDENTITY, &bytes)
    }

    /// What is noted of a user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn identities(&self, user: UserNid) -> Result<Identities, AccountError> {
        Ok(self.identities_of(user).await?.0)
    }

    async fn identities_of(&self, user: UserNid) -> Result<(Identities, Option<Position>), AccountError> {
        let found = self.0.store.latest().get_versioned(&IDENTITIES, &user.get()).await?;
        Ok(found.map_or((Identities::default(), None), |(Json(known), version)| (known, Some(version))))
    }

    /// The user of this server who has this address or identity.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn identity_owner(&self, identity: Identity<'_>) -> Result<Option<UserNid>, AccountError> {
        let owner = self.0.store.latest().get(&IDENTITY_OWNERS, &self.identity_hash(identity)).await?;
        Ok(owner.map(UserNid::new))
    }

    /// Changes what is noted of a user.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::IdentityInUse`] where somebody else has an address or identity,
    /// [`AccountError::Limit`], [`AccountError::Invalid`], or the store's.
    pub async fn change_identities(&self, user: &UserId, change: impl Fn(&mut Identities)) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, user_version) = self.user_row(user).await?.ok_or(AccountError::UnknownUser)?;
            let (before, version) = self.identities_of(nid).await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(());
            }
            after.check()?;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(user_version));
            batch.expect_version(&IDENTITIES, &nid.get(), version);
            for gone in before.all() {
                batch.delete(&IDENTITY_OWNERS, &self.identity_hash(gone));
            }
            for kept in after.all() {
                let hash = self.identity_hash(kept);
                let owner = self.0.store.latest().get_versioned(&IDENTITY_OWNERS, &hash).await?;
                if owner.is_some_and(|(owner, _)| owner != nid.get()) {
                    return Err(AccountError::IdentityInUse);
                }
                batch.expect_version(&IDENTITY_OWNERS, &hash, owner.map(|(_, version)| version));
                batch.put(&IDENTITY_OWNERS, &hash, &nid.get());
            }
            batch.put_sealed(&IDENTITIES, &nid.get(), &Json(after), &self.person_key(nid).await?);
            self.record_change(&mut batch, user, "identities");
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Takes away what finds a user by address or identity, as part of a batch that closes the account.
    pub(crate) async fn end_identities(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        let (known, version) = self.identities_of(user).await?;
        batch.expect_version(&IDENTITIES, &user.get(), version);
        for gone in known.all() {
            batch.delete(&IDENTITY_OWNERS, &self.identity_hash(gone));
        }
        batch.delete(&IDENTITIES, &user.get());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::canonical_address;

    #[test]
    fn addresses_are_compared_in_one_form() {
        assert_eq!(canonical_address("email", "Alice@Example.COM").unwrap(), "alice@example.com");
        assert_eq!(canonical_address("msisdn", "+49 151-234").unwrap(), "49151234");
        for (medium, address) in [("email", "alice"), ("email", "@b"), ("msisdn", "none"), ("fax", "1")] {
            assert!(canonical_address(medium, address).is_err(), "{medium} {address}");
        }
    }
}
