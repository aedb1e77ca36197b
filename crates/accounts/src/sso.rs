//! Users who sign in with an identity provider: whose account a person of a provider has, and which devices were signed
//! in in which session of the provider.
//!
//! A person is known by issuer and subject, which a provider never gives to somebody else (OpenID Connect Core 1.0,
//! section 5.7), never by a name. What the provider's answers mean is read elsewhere; here they are taken for checked.

mod claims;
mod links;
mod sessions;
mod tables;

use wardroom_store::{Hash16, TableSpec};

pub use self::{
    claims::ClaimsListener,
    links::{SSO_EMAIL_BYTES_MAX, SSO_LINKS_PER_USER_MAX, SsoLink, SsoNewcomer},
};
pub(crate) use self::{
    sessions::{EndedSessions, SsoOrigin},
    tables::{SSO_DEVICES, SSO_USERS},
};
use crate::{Accounts, tables::domain};

/// The tables of this module, ids 0x0180 to 0x018F.
pub(crate) const TABLES: &[TableSpec] = tables::TABLES;

/// A person as an identity provider knows them.
#[derive(Clone, Copy)]
pub struct SsoIdentity<'a> {
    /// The provider's issuer identifier, an URL.
    pub issuer: &'a str,
    /// The person, by a name that the issuer gives to nobody else.
    pub subject: &'a str,
    /// The session at the provider, by a name that no other session of the issuer has, where it tells.
    pub session: Option<&'a str>,
    /// The e-mail address that the provider vouches for.
    pub email: Option<&'a str>,
}

impl std::fmt::Debug for SsoIdentity<'_> {
    /// Says nothing about the person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SsoIdentity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Stands for a person of an issuer in keys.
    fn subject_hash(&self, issuer: &str, subject: &str) -> Hash16 {
        self.0.store.keyed_hash(domain::SSO_SUBJECT, &joined(issuer, subject))
    }

    /// Stands for a session at an issuer in keys.
    fn session_hash(&self, issuer: &str, session: &str) -> Hash16 {
        self.0.store.keyed_hash(domain::SSO_SESSION, &joined(issuer, session))
    }
}

/// Both texts, so that no two pairs look the same.
fn joined(issuer: &str, name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + issuer.len() + name.len());
    bytes.extend_from_slice(&(issuer.len() as u64).to_be_bytes());
    bytes.extend_from_slice(issuer.as_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes
}
