//! Directories that are asked, time and again, who has which roles: LDAP, and FHIR's
//! `PractitionerRole`.
//!
//! Each reading of a source gives its whole list, or a [`Fault`]: what is not certainly everything is not taken. A list
//! goes to [`Care::take_list`] together with the last good ones of the other sources of its kind, so a source that is down,
//! slow, empty or lying takes nothing away. After [`FAILURES_BEFORE_ALARM`] failures in a row administrators are told.
//!
//! Absent on purpose: following referrals to other directories, groups within groups, passwords of people, and making
//! accounts: roles wait for who will bear the name.

mod error;
mod fhir;
mod ldap;
mod list;
mod polling;
mod rules;
mod secret;
mod tls;

use std::{collections::HashMap, fmt, sync::Arc};

use ruma::OwnedServerName;
use wardroom_accounts::Accounts;
use wardroom_care::Care;
use wardroom_clock::SharedClock;

pub use self::{
    error::Fault,
    fhir::FhirSettings,
    ldap::{FilterError, LDAP_FILTER_BYTES_MAX, LdapFilter, LdapGroups, LdapSettings},
    polling::{FAILURES_BEFORE_ALARM, SourceStatus},
    rules::{InactiveIf, InactiveRule, LdapRule},
};
use self::{
    list::List,
    polling::{Polled, Reader},
};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this server, which users are of.
    pub server_name: OwnedServerName,
    /// Directories read over LDAP.
    pub ldap: Vec<LdapSettings>,
    /// Directories of practitioners.
    pub fhir: Vec<FhirSettings>,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
}

/// The directories. Clones share everything.
#[derive(Clone)]
pub struct Directories(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    accounts: Accounts,
    care: Care,
    sources: Vec<Polled>,
    /// The last good list of each source since the server started, by name. Held while one is taken.
    lists: tokio::sync::Mutex<HashMap<String, List>>,
}

impl Directories {
    /// Those of the settings.
    ///
    /// # Errors
    /// [`Fault::Setting`].
    pub fn new(clock: SharedClock, (accounts, care): (Accounts, Care), settings: Settings) -> Result<Self, Fault> {
        let Settings { server_name, ldap, fhir, extra_ca } = settings;
        let mut sources = Vec::new();
        if !ldap.is_empty() {
            let tls = tls::client(&extra_ca)?;
            let reader = |settings| Reader::ldap(settings, server_name.clone(), Arc::clone(&tls));
            sources.extend(ldap.into_iter().map(reader).map(Polled::new));
        }
        for settings in fhir {
            sources.push(Polled::new(Reader::fhir(settings, server_name.clone(), extra_ca.clone())?));
        }
        Ok(Self(Arc::new(Inner { clock, accounts, care, sources, lists: tokio::sync::Mutex::default() })))
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directories").field("sources", &self.0.sources.len()).finish_non_exhaustive()
    }
}
