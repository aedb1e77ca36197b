//! Reading the sources in turn, and what follows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use ruma::OwnedServerName;
use rustls::ClientConfig;
use wardroom_care::{Replaced, Source};

use crate::{
    Directories, Fault, FhirSettings, LdapSettings,
    fhir::Registry,
    ldap::Directory,
    list::{List, together},
};

/// Failures in a row after which administrators are told.
pub const FAILURES_BEFORE_ALARM: u32 = 3;
/// Longest time that a reading may take.
const READING_TIMEOUT: Duration = Duration::from_mins(10);
/// The kinds of sources that are polled.
const KINDS: [Source; 2] = [Source::Fhir, Source::Ldap];

/// How a source is read.
#[derive(Debug)]
pub(crate) enum Reader {
    Ldap(Box<Directory>),
    Fhir(Box<Registry>),
}

/// A source.
#[derive(Debug)]
pub(crate) struct Polled {
    reader: Reader,
    /// Held while it is read.
    reading: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// How it went since the server started. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
struct State {
    last_success_ms: Option<u64>,
    last_failure: Option<(u64, String)>,
    failures_in_a_row: u32,
    next_poll_ms: Option<u64>,
    listed: usize,
    skipped: usize,
}

/// How it stands with a source. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: Source,
    /// When its list was last taken, if it was since the server started.
    pub last_success_ms: Option<u64>,
    /// When it last failed since the server started, and how.
    pub last_failure: Option<(u64, String)>,
    /// How often it has failed since it last did not.
    pub failures_in_a_row: u32,
    /// When it is read next by itself; none before it was read first.
    pub next_poll_ms: Option<u64>,
    /// Users in its last good list.
    pub listed: usize,
    /// People in it who have no name here, or one that others have too.
    pub skipped: usize,
}

impl Reader {
    pub(crate) fn ldap(settings: LdapSettings, server_name: OwnedServerName, tls: Arc<ClientConfig>) -> Self {
        Self::Ldap(Box::new(Directory::new(settings, server_name, tls)))
    }

    pub(crate) fn fhir(
        settings: FhirSettings,
        server_name: OwnedServerName,
        extra_ca: Vec<Vec<u8>>,
    ) -> Result<Self, Fault> {
        Ok(Self::Fhir(Box::new(Registry::new(settings, server_name, extra_ca)?)))
    }

    fn name(&self) -> &str {
        match self {
            Self::Ldap(directory) => &directory.settings().name,
            Self::Fhir(registry) => &registry.settings().name,
        }
    }

    fn kind(&self) -> Source {
        match self {
            Self::Ldap(_) => Source::Ldap,
            Self::Fhir(_) => Source::Fhir,
        }
    }

    fn poll_every(&self) -> Duration {
        match self {
            Self::Ldap(directory) => directory.settings().poll_every,
            Self::Fhir(registry) => registry.settings().poll_every,
        }
    }

    /// Whether those who are gone have their sessions ended.
    fn ends_sessions(&self) -> bool {
        match self {
            Self::Ldap(directory) => directory.settings().end_sessions,
            Self::Fhir(registry) => registry.settings().end_sessions,
        }
    }

    async fn read(&self) -> Result<List, Fault> {
        let read = async {
            match self {
                Self::Ldap(directory) => directory.read().await,
                Self::Fhir(registry) => registry.read().await,
            }
        };
        tokio::time::timeout(READING_TIMEOUT, read).await.unwrap_or(Err(Fault::TooSlow(READING_TIMEOUT)))
    }
}

impl Polled {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, reading: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    fn status(&self) -> SourceStatus {
        let State { last_success_ms, last_failure, failures_in_a_row, next_poll_ms, listed, skipped } =
            self.state.lock().clone();
        let (name, kind) = (self.reader.name().to_owned(), self.reader.kind());
        SourceStatus { name, kind, last_success_ms, last_failure, failures_in_a_row, next_poll_ms, listed, skipped }
    }
}

impl Directories {
    /// How it stands with each source.
    pub fn all(&self) -> Vec<SourceStatus> {
        self.0.sources.iter().map(Polled::status).collect()
    }

    /// Reads a source now and tells how it stands with it then; none where there is no such source.
    pub async fn poll(&self, name: &str) -> Option<SourceStatus> {
        let source = self.0.sources.iter().find(|source| source.reader.name() == name)?;
        self.read(source).await;
        Some(source.status())
    }

    /// Reads the sources time and again, as long as the server runs.
    pub async fn run(self) {
        self.forget_kinds_without_sources().await;
        join_all(self.0.sources.iter().map(|source| self.follow(source))).await;
    }

    async fn follow(&self, source: &Polled) {
        let pause = source.reader.poll_every();
        loop {
            self.read(source).await;
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            source.state.lock().next_poll_ms = Some(self.0.clock.now_ms().saturating_add(pause_ms));
            tokio::time::sleep(pause).await;
        }
    }

    /// Where the configuration has no source of a kind any more, nobody has roles of one.
    async fn forget_kinds_without_sources(&self) {
        let care = &self.0.care;
        for kind in KINDS {
            let any = self.0.sources.iter().any(|source| source.reader.kind() == kind);
            if any || care.roles().said_by(kind).is_empty() {
                continue;
            }
            if let Err(error) = care.take_list(kind, HashMap::new()).await {
                tracing::warn!(%error, kind = kind.name(), "roles stay of a source that is not configured any more");
            }
        }
    }

    /// Reads a source once, and notes how it went.
    async fn read(&self, source: &Polled) {
        let _alone = source.reading.lock().await;
        let name = source.reader.name();
        let taken = match source.reader.read().await {
            Ok(list) => self.take(source, list).await,
            Err(fault) => Err(fault),
        };
        let now_ms = self.0.clock.now_ms();
        match taken {
            Ok(changed) => {
                let first = {
                    let mut state = source.state.lock();
                    let first = state.last_success_ms.is_none() || state.failures_in_a_row > 0;
                    state.last_success_ms = Some(now_ms);
                    state.failures_in_a_row = 0;
                    first
                };
                if first {
                    self.0.care.source_answers(name).await;
                }
                tracing::debug!(source = name, changed, "a source of roles was read");
            }
            Err(fault) => {
                let sentence = fault.to_string();
                let failures = {
                    let mut state = source.state.lock();
                    state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                    state.last_failure = Some((now_ms, sentence.clone()));
                    state.failures_in_a_row
                };
                tracing::warn!(source = name, sentence, "a source of roles was not taken: what it said last holds");
                if failures >= FAILURES_BEFORE_ALARM {
                    self.0.care.source_failed(name, &sentence).await;
                }
            }
        }
    }

    /// Takes a list, together with what the other sources of its kind said last. Returns of how many users there was
    /// something new.
    async fn take(&self, source: &Polled, list: List) -> Result<usize, Fault> {
        let (name, kind, care) = (source.reader.name(), source.reader.kind(), &self.0.care);
        let mut lists = self.0.lists.lock().await;
        let before: HashMap<_, _> = care.roles().said_by(kind).into_iter().collect();
        let had_somebody = match lists.get(name) {
            Some(list) => !list.people.is_empty(),
            None => before.values().any(|said| said.bindings.iter().any(|binding| binding.set_by == name)),
        };
        if list.people.is_empty() && had_somebody {
            return Err(Fault::Empty);
        }
        let ours = self.0.sources.iter().filter(|other| other.reader.kind() == kind);
        let said_last = |other: &str| if other == name { Some(&list) } else { lists.get(other) };
        let sources: Vec<(&str, Option<&List>)> =
            ours.map(|other| (other.reader.name(), said_last(other.reader.name()))).collect();
        let all = together(&sources, &before, self.0.clock.now_ms());
        let Replaced { changed, .. } = care.take_list(kind, all).await?;
        if source.reader.ends_sessions() {
            self.end_sessions(&list).await?;
        }
        let mut state = source.state.lock();
        (state.listed, state.skipped) = (list.people.len(), list.skipped);
        drop(state);
        lists.insert(name.to_owned(), list);
        Ok(changed)
    }

    /// Ends the sessions of everybody who is gone. Whoever signs in all the same is out again after the next reading.
    async fn end_sessions(&self, list: &List) -> Result<(), Fault> {
        let (accounts, roles) = (&self.0.accounts, self.0.care.roles());
        let gone = list.people.iter().filter(|(_, listed)| listed.active == Some(false)).map(|(user, _)| user);
        // A source of higher rank may know better.
        for user in gone.filter(|user| roles.of(user).is_some_and(|holder| !holder.is_active())) {
            if let Some(user) = accounts.user(user).await.map_err(wardroom_care::CareError::from)? {
                accounts.logout_all(user.nid).await.map_err(wardroom_care::CareError::from)?;
            }
        }
        Ok(())
    }
}
