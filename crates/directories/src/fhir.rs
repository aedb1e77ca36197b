//! A directory of practitioners and their roles (FHIR R4, `PractitionerRole`), read page by page: now and then whole, in
//! between what changed. Only a whole list tells what is not there any more.

mod bundle;
mod facts;

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use ruma::OwnedServerName;
use url::Url;
use wardroom_clock::timestamp;
use wardroom_outbound::{Outbound, OutboundSettings, Ranges};

use self::{bundle::Pages, facts::Facts};
use crate::{Fault, list::List, secret};

/// How far a reading of what changed goes back behind the last change that is known, in milliseconds: what was written at
/// that time may have become visible later.
const OVERLAP_MS: i64 = 60_000;
/// Resources in one page of an answer.
const PAGE_SIZE: &str = "200";

/// One directory.
#[derive(Clone, Debug)]
pub struct FhirSettings {
    /// Short name, by which its roles are known.
    pub name: String,
    /// Where it is, with a slash at the end.
    pub base_url: Url,
    /// The file with a token that goes with every request, read each time.
    pub token_file: Option<PathBuf>,
    /// The `system` of the identifier of practitioners that the local parts of user ids are made from.
    pub identifier_system: String,
    /// Organisations of roles by reference (`Organization/1`) or identifier (`system|value`).
    pub organizations: HashMap<String, String>,
    /// The organisation of roles that name none of these.
    pub default_organization: Option<String>,
    /// Systems whose codes are those of roles.
    pub code_systems: Vec<String>,
    /// Codes of roles by what the directory has (`system|code`).
    pub codes: HashMap<String, String>,
    /// Units by location (`Location/1`) or specialty (`system|code`).
    pub units: HashMap<String, String>,
    /// Whether the sessions of practitioners who are not active are ended.
    pub end_sessions: bool,
    /// How often it is asked what changed.
    pub poll_every: Duration,
    /// How often it is read whole.
    pub full_every: Duration,
    /// Time for one request, its answer included.
    pub timeout: Duration,
}

/// A directory, ready to be read.
#[derive(Debug)]
pub(crate) struct Registry {
    settings: FhirSettings,
    server_name: OwnedServerName,
    outbound: Outbound,
    /// What it said, and when it was last read whole.
    known: tokio::sync::Mutex<Option<(Facts, Instant)>>,
}

impl Registry {
    pub(crate) fn new(
        settings: FhirSettings,
        server_name: OwnedServerName,
        extra_ca: Vec<Vec<u8>>,
    ) -> Result<Self, Fault> {
        let outbound = Outbound::new(OutboundSettings {
            // The operator names the one host that is asked, which is often within the hospital; no answer leads elsewhere.
            ranges: Ranges::new(Vec::new(), Vec::new()),
            extra_ca,
            verify_certificates: true,
            redirects_max: 0,
            timeout: settings.timeout,
        });
        let outbound = outbound.map_err(Fault::Request)?;
        Ok(Self { settings, server_name, outbound, known: tokio::sync::Mutex::default() })
    }

    pub(crate) fn settings(&self) -> &FhirSettings {
        &self.settings
    }

    /// Reads what is due, and tells everything that is known then.
    ///
    /// # Errors
    /// Whenever it is not certain that this is everything.
    pub(crate) async fn read(&self) -> Result<List, Fault> {
        let mut known = self.known.lock().await;
        let fresh = known.take().filter(|(_, read)| read.elapsed() < self.settings.full_every);
        let since = fresh.as_ref().and_then(|(facts, _)| facts.newest_ms());
        *known = match (fresh, since) {
            (Some((mut facts, read)), Some(since_ms)) => {
                let changed = self.changes(&mut facts, since_ms).await;
                // What was read of it is right, and is read again.
                *known = Some((facts, read));
                changed?;
                known.take()
            }
            // What does not say when it changed is always read whole.
            _ => {
                let begun = Instant::now();
                Some((self.whole().await?, begun))
            }
        };
        let facts = known.as_ref().map(|(facts, _)| facts);
        Ok(facts.map(|facts| facts.list(&self.settings, &self.server_name)).unwrap_or_default())
    }

    async fn whole(&self) -> Result<Facts, Fault> {
        let mut facts = Facts::default();
        let pages = self.pages(self.search("PractitionerRole", None)?, &mut facts).await?;
        if pages.total.is_some_and(|total| pages.matched < total) {
            return Err(Fault::Partial);
        }
        if facts.has_roles_of_nobody() { Err(Fault::NoPeople) } else { Ok(facts) }
    }

    async fn changes(&self, facts: &mut Facts, since_ms: i64) -> Result<(), Fault> {
        let from_ms = u64::try_from(since_ms.saturating_sub(OVERLAP_MS)).unwrap_or(0);
        for kind in ["PractitionerRole", "Practitioner"] {
            if let Err(fault) = self.pages(self.search(kind, Some(from_ms))?, facts).await {
                // The newest may have been on a page before others that were not read.
                facts.forget_after(since_ms);
                return Err(fault);
            }
        }
        Ok(())
    }

    fn search(&self, kind: &str, since_ms: Option<u64>) -> Result<Url, Fault> {
        let url = self.settings.base_url.join(kind);
        let mut url = url.map_err(|error| Fault::Setting(format!("directories.fhir.base_url: {error}")))?;
        let mut query = url.query_pairs_mut();
        if kind == "PractitionerRole" {
            query.append_pair("_include", "PractitionerRole:practitioner");
        }
        if let Some(since_ms) = since_ms {
            query.append_pair("_lastUpdated", &format!("ge{}", timestamp::format(since_ms)));
        }
        query.append_pair("_count", PAGE_SIZE);
        drop(query);
        Ok(url)
    }

    /// Reads a search from its first page to its last.
    async fn pages(&self, first: Url, facts: &mut Facts) -> Result<Pages, Fault> {
        let token = match &self.settings.token_file {
            Some(path) => Some(secret::read("token_file", path).await?),
            None => None,
        };
        let (mut pages, mut next) = (Pages::new(&first), Some(first));
        while let Some(url) = next {
            let answer = self.get(url.clone(), token.as_deref()).await?;
            next = pages.read(&url, &answer, |resource| facts.learn(resource, &self.settings))?;
        }
        Ok(pages)
    }

    async fn get(&self, url: Url, token: Option<&[u8]>) -> Result<Vec<u8>, Fault> {
        let mut request = self.outbound.get(url).map_err(Fault::Request)?.header("accept", "application/fhir+json");
        if let Some(token) = token {
            request = request.header("authorization", [b"Bearer ", token].concat());
        }
        let response = Outbound::send(request).await.map_err(Fault::Request)?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(Fault::Status(status)),
        }
        let read = Outbound::read(response, bundle::PAGE_BYTES_MAX).await;
        read.map(|bytes| bytes.to_vec()).map_err(Fault::Request)
    }
}
