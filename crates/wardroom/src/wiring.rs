//! The one place where the parts are put together. Each gets what it needs in its constructor.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wardroom_accounts::{Accounts, PasswordCost, Registration, Settings, erased_since};
use wardroom_admin_api::{AdminState, Notices};
use wardroom_audit::AuditLog;
use wardroom_care::{Attestations, Care, CareGate, ClaimRoles, Judge};
use wardroom_client_api::{
    ClientSettings, ClientState, DelayedEventLimits, MediaState, Support, TurnCredentials, TurnServers,
};
use wardroom_clock::{Clock, SharedClock};
use wardroom_directories::Directories;
use wardroom_event::SigningKey;
use wardroom_federation::{Federation, ListSettings, PartnerSettings, Parts};
use wardroom_federation_api::{FederationState, Transactions};
use wardroom_holds::Holds;
use wardroom_media::{Media, PreviewSettings};
use wardroom_outbound::{Outbound, OutboundSettings, Ranges};
use wardroom_provisioning::{Provisioning, Settings as ProvisioningSettings};
use wardroom_push::{BadgeCounts, Push, Unread};
use wardroom_rooms::Rooms;
use wardroom_scim_api::ScimState;
use wardroom_sso::{Sso, SsoSettings};
use wardroom_store::{MasterKey, Options, Store};
use wardroom_sync::Syncer;
use wardroom_web::{RateLimits, RequestMetrics, shell};

pub(crate) use crate::start_error::StartError;
use crate::{
    attesters::{Asking, Telling},
    auditing, background,
    backing_up::BackingUp,
    backup::RESTORING_DIR,
    config::{
        Config,
        directories::{fhir::Fhir, ldap::Ldap},
        listener::Tls,
        push::Badge,
    },
    effective,
    exporting::Exporting,
    forgetting::{self, Everything},
    holding, identity, inviting, keys, metrics,
    serves::Serves,
    tables,
};

/// What a command wants from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreUse {
    /// Make it if it is not there.
    Create,
    /// It must be there.
    Existing,
}

/// Opens the store under the master key.
pub(crate) async fn open_store(config: &Config, clock: &dyn Clock, intent: StoreUse) -> Result<Store, StartError> {
    let dir = &config.data_dir;
    if dir.join(RESTORING_DIR).exists() {
        return Err(StartError::Restoring(dir.clone()));
    }
    if intent == StoreUse::Existing && !config.store_dir().exists() {
        return Err(StartError::NoStore(dir.clone()));
    }
    keys::make_private_dir(dir).map_err(|source| StartError::DataDir { dir: dir.clone(), source })?;
    let master = keys::master_key(config, intent == StoreUse::Create)?;
    open_store_in(dir, config, clock, &master).await
}

/// Opens the store in a directory that is not that of the configuration.
pub(crate) async fn open_store_in(
    dir: &Path,
    config: &Config,
    clock: &dyn Clock,
    master: &MasterKey,
) -> Result<Store, StartError> {
    let now_unix_seconds = clock.now_ms() / 1_000;
    let options = Options { sync: config.durability.sync, now_unix_seconds, ..Options::default() };
    let opened = Store::open(dir, master, tables::catalogue()?, options).await;
    opened.map_err(|source| StartError::Store { dir: dir.to_owned(), source })
}

/// The accounts as the configuration wants them.
pub(crate) async fn accounts(
    config: &Config,
    store: Store,
    clock: SharedClock,
    (audit, holds): (AuditLog, Holds),
) -> Result<Accounts, StartError> {
    let settings = Settings {
        server_name: config.server_name.clone(),
        password: PasswordCost {
            memory_kib: config.password.argon2.memory_kib,
            iterations: config.password.argon2.iterations,
            parallelism: config.password.argon2.parallelism,
        },
        registration: Registration {
            open: config.registration.open,
            tokens: config.registration.tokens.clone(),
            shared_secret: Some(config.registration.shared_secret.clone()).filter(|secret| !secret.is_empty()),
            guests: config.registration.guests,
        },
        tokens: config.sessions.lifetimes(),
        presence: config.presence.enabled,
        federation: config.federation.enabled,
        own_users: config.own_users(),
        holds,
    };
    Ok(Accounts::new(store, clock, audit, settings).await?)
}

/// Certificate authorities beyond the system's.
fn extra_ca(config: &Config) -> Result<Vec<Vec<u8>>, StartError> {
    let read = |path: &PathBuf| {
        let failed = |source| StartError::File { key: "federation.extra_ca", path: path.clone(), source };
        std::fs::read(path).map_err(failed)
    };
    config.federation.extra_ca.iter().map(read).collect()
}

/// Push notifications as the configuration wants them.
fn push(
    config: &Config,
    store: Store,
    unread: Unread,
    clock: SharedClock,
    audit: AuditLog,
) -> Result<Push, StartError> {
    let settings = wardroom_push::Settings {
        ranges: Ranges::new(config.federation.deny_ip_ranges.clone(), config.push.allow_ip_ranges.clone()),
        extra_ca: extra_ca(config)?,
        allow_http: config.push.allow_http,
        include_content: config.push.include_content,
        badge: match config.push.badge {
            Badge::Rooms => BadgeCounts::Rooms,
            Badge::Messages => BadgeCounts::Messages,
        },
    };
    Ok(Push::new(store, unread, clock, audit, settings)?)
}

/// Redirections that are followed for the preview of a page.
const PREVIEW_REDIRECTS_MAX: usize = 5;
/// Time for reading a page or an image for a preview.
const PREVIEW_TIMEOUT: Duration = Duration::from_secs(15);

/// The content repository as the configuration wants it.
async fn media(
    config: &Config,
    store: Store,
    clock: SharedClock,
    (audit, holds): (AuditLog, Holds),
) -> Result<Media, StartError> {
    let dir = config.media_dir();
    let previews = match config.url_previews.enabled {
        true => Some((previewer(config)?, PreviewSettings { deny: config.url_previews.deny.clone() })),
        false => None,
    };
    let settings = wardroom_media::Settings {
        server_name: config.server_name.clone(),
        dir: dir.clone(),
        sync: config.durability.sync,
        upload_bytes_max: config.media.max_upload_bytes,
        user_bytes_max: Some(config.media.user_quota_bytes).filter(|bytes| *bytes > 0),
        remote_bytes_max: config.media.max_remote_bytes,
        remote_cache_days: Some(config.media.remote_cache_days).filter(|days| *days > 0),
        thumbnail_sizes: config.media.sizes(),
        previews,
        holds,
    };
    Media::open(store, clock, audit, settings).await.map_err(|source| StartError::Media { dir, source })
}

/// Asks for pages to preview.
fn previewer(config: &Config) -> Result<Outbound, StartError> {
    let settings = OutboundSettings {
        ranges: Ranges::new(config.federation.deny_ip_ranges.clone(), config.url_previews.allow_ip_ranges.clone()),
        extra_ca: extra_ca(config)?,
        verify_certificates: true,
        redirects_max: PREVIEW_REDIRECTS_MAX,
        timeout: PREVIEW_TIMEOUT,
    };
    Ok(Outbound::new(settings)?)
}

/// Time for a request to an identity provider, its answer included.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Single sign-on as the configuration wants it; none where there is no provider.
fn sso(config: &Config, accounts: Accounts, clock: SharedClock) -> Result<Option<Sso>, StartError> {
    let section = &config.oidc;
    if section.providers.is_empty() {
        return Ok(None);
    }
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| StartError::File { key: "oidc.extra_ca", path: path.clone(), source })
    };
    let outbound = Outbound::new(OutboundSettings {
        ranges: Ranges::new(config.federation.deny_ip_ranges.clone(), section.allow_ip_ranges.clone()),
        extra_ca: section.extra_ca.iter().map(read).collect::<Result<_, _>>()?,
        verify_certificates: true,
        redirects_max: 0,
        timeout: PROVIDER_TIMEOUT,
    })?;
    let settings = |provider: &crate::config::oidc::Provider| {
        let path = PathBuf::from(&provider.client_secret_file);
        provider.settings().map_err(|source| StartError::File {
            key: "oidc.providers.client_secret_file",
            path,
            source,
        })
    };
    let settings = SsoSettings {
        public_url: config.public_url(),
        providers: section.providers.iter().map(settings).collect::<Result<_, _>>()?,
        client_allow: section.client_allow.clone(),
        allow_http: section.allow_http,
    };
    Ok(Some(Sso::new(accounts, clock, &outbound, settings)))
}

/// Other servers as the configuration wants them; none where federation is off.
async fn federation(config: &Config, parts: &Parts, care: &Care) -> Result<Option<Federation>, StartError> {
    if !config.federation.enabled {
        return Ok(None);
    }
    let old_keys = identity::old_keys(&parts.store).await?;
    let federation = Federation::new(parts, PartnerSettings { old_keys, ..partner_settings(config)? })?;
    federation.load().await?;
    care.attestations().ask_by(Arc::new(Asking(federation.attestations.clone())));
    care.tell_by(Arc::new(Telling(federation.outbox.clone())));
    care.invite_by(Arc::new(inviting::ByFederation(federation.rooms.clone())));
    federation.witness.alarm_by(Arc::new(auditing::ByAlarms(care.alarms().clone())));
    Ok(Some(federation))
}

/// What the configuration says of other servers.
pub(crate) fn partner_settings(config: &Config) -> Result<PartnerSettings, StartError> {
    let section = &config.federation;
    let read = |key: &'static str, path: &PathBuf| {
        std::fs::read(path).map_err(|source| StartError::File { key, path: path.clone(), source })
    };
    let client_certificate = match &section.client_certificate {
        Some(Tls { cert, key }) => {
            Some((read("federation.client_certificate", cert)?, read("federation.client_certificate", key)?))
        }
        None => None,
    };
    let list = match &section.list {
        Some(list) => Some(ListSettings {
            source: list.source(),
            authorities: list.trust.iter().map(|path| read("federation.list", path)).collect::<Result<_, _>>()?,
            refresh_every: Duration::from_secs(list.refresh_seconds),
        }),
        None => None,
    };
    Ok(PartnerSettings {
        enabled: section.enabled,
        allow: section.allow.clone(),
        deny: section.deny.clone(),
        verify_certificates: section.verify_certificates,
        extra_ca: extra_ca(config)?,
        ranges: Ranges::new(section.deny_ip_ranges.clone(), Vec::new()),
        requests_per_second: section.requests_per_second,
        notaries: section.notaries.clone(),
        client_certificate,
        partners: section.partners(),
        old_keys: Vec::new(),
        list,
        witness: config.audit.witness_settings(),
        accept_erasure: section.accept_erasure,
    })
}

/// The client-server API as the configuration wants it.
fn client_settings(config: &Config) -> ClientSettings {
    let turn = &config.turn;
    let credentials = if turn.shared_secret.is_empty() {
        TurnCredentials::Static { username: turn.username.clone(), password: turn.password.clone() }
    } else {
        TurnCredentials::SharedSecret(turn.shared_secret.clone())
    };
    let turn = TurnServers { uris: turn.uris.clone(), credentials, lifetime_seconds: turn.lifetime_seconds };
    ClientSettings {
        turn: Some(turn).filter(|turn| !turn.uris.is_empty()),
        livekit_service_urls: config.rtc.transport.iter().map(|to| to.livekit_service_url.clone()).collect(),
        delayed_events: DelayedEventLimits {
            max_delay: Duration::from_secs(config.delayed_events.max_delay_seconds),
            max_per_user: config.delayed_events.max_per_user,
        },
        support: Support {
            page: Some(config.support.page.clone()).filter(|page| !page.is_empty()),
            contacts: config.support.contacts(),
        },
        search_all_users: config.user_directory.search_all_users,
        private_history: config.rooms.private_history.into(),
        ..ClientSettings::new(config.server_name.clone(), config.public_url())
    }
}

/// The rooms, and who may be in them.
async fn rooms(
    config: &Config,
    store: &Store,
    clock: &SharedClock,
    (accounts, audit, holds): (&Accounts, &AuditLog, &Holds),
    signing_key: &Arc<SigningKey>,
) -> Result<(Rooms, Care), StartError> {
    let settings = config.roles.settings(&config.server_name).ok_or(StartError::ServiceUser)?;
    let judge = Judge::load(store, Arc::clone(clock), audit.clone(), settings.service_user.clone()).await?;
    let attestations = Attestations::new(store.clone(), Arc::clone(clock), judge.clone(), settings.attest_to.clone());
    let gate = CareGate::new(judge.clone(), attestations.clone());
    let rooms = wardroom_rooms::Settings {
        server_name: config.server_name.clone(),
        default_version: config.rooms.default_version.clone(),
        signing_key: Arc::clone(signing_key),
        retention: config.retention.settings(config.server_notices.settings().is_some()),
        holds: holds.clone(),
    };
    let rooms = Rooms::new(store.clone(), Arc::clone(clock), Arc::new(gate), audit.clone(), rooms);
    rooms.be_policy_server(Arc::new(identity::policy_key(store).await?));
    let claims = ClaimRoles::new(judge.roles().clone(), Arc::clone(clock), config.roles.claim_rules());
    accounts.tell_claims_to(Box::new(claims));
    let services = (rooms.clone(), accounts.clone());
    let care = Care::new(store.clone(), Arc::clone(clock), services, (judge, attestations), audit.clone(), settings);
    care.start().await?;
    Ok((rooms, care))
}

/// The directory that pushes users and groups.
fn scim(
    config: &Config,
    (store, clock, audit): (&Store, &SharedClock, &AuditLog),
    (accounts, rooms, care): (&Accounts, &Rooms, &Care),
    limits: &Arc<RateLimits>,
) -> Result<ScimState, StartError> {
    let section = &config.scim;
    let file = match section.tokens_file() {
        Some(path) => std::fs::read_to_string(path).map_err(|source| StartError::File {
            key: "scim.tokens_file",
            path: path.clone(),
            source,
        })?,
        None => String::new(),
    };
    let settings = ProvisioningSettings {
        base_url: format!("{}/scim/v2", config.public_url()),
        localpart: section.localpart(),
        accept_canonical_roles: section.accept_canonical_roles,
        rules: section.rules(),
        leave_rooms: !section.inactive_users_stay_in_rooms,
    };
    let services = (accounts.clone(), rooms.clone(), care.clone());
    let provisioning = Provisioning::new(store.clone(), Arc::clone(clock), services, settings);
    let (tokens, limits) = (section.tokens(&file)?.into(), Arc::clone(limits));
    Ok(ScimState { provisioning, tokens, limits, audit: audit.clone() })
}

/// The directories that are read.
fn directories(config: &Config, clock: SharedClock, services: (Accounts, Care)) -> Result<Directories, StartError> {
    let section = &config.directories;
    let read = |path: &PathBuf| {
        let key = "directories.extra_ca";
        std::fs::read(path).map_err(|source| StartError::File { key, path: path.clone(), source })
    };
    let settings = wardroom_directories::Settings {
        server_name: config.server_name.clone(),
        ldap: section.ldap.iter().filter_map(Ldap::settings).collect(),
        fhir: section.fhir.iter().filter_map(Fhir::settings).collect(),
        extra_ca: section.extra_ca.iter().map(read).collect::<Result<_, _>>()?,
    };
    Ok(Directories::new(clock, services, settings)?)
}

/// The server-server API.
fn federation_api(
    config: &Config,
    parts: Parts,
    federation: Federation,
    (sync, care): (&Syncer, &Care),
    limits: &Arc<RateLimits>,
) -> FederationState {
    FederationState {
        server_name: parts.server_name,
        accounts: parts.accounts,
        rooms: parts.rooms,
        media: parts.media,
        sync: sync.clone(),
        care: care.clone(),
        federation,
        limits: Arc::clone(limits),
        signing_key: parts.signing_key,
        well_known_server: ruma::ServerName::parse(&config.federation.well_known_server).ok(),
        clock: parts.clock,
        audit: parts.audit,
        transactions: Transactions::default(),
        public_rooms: config.federation.public_rooms,
    }
}

/// The server, ready to be put behind listeners.
#[derive(Debug)]
pub(crate) struct App {
    store: Store,
    client: ClientState,
    media: MediaState,
    admin: AdminState,
    federation: Option<FederationState>,
    scim: ScimState,
    exporting: Exporting,
    requests: Arc<RequestMetrics>,
}

fn media_state(
    config: &Config,
    parts: &Parts,
    federation: Option<&Federation>,
    limits: &Arc<RateLimits>,
) -> MediaState {
    MediaState {
        accounts: parts.accounts.clone(),
        media: parts.media.clone(),
        rooms: parts.rooms.clone(),
        remote: federation.map(|federation| federation.media.clone()),
        audit: parts.audit.clone(),
        limits: Arc::clone(limits),
        allow_unauthenticated: config.media.allow_unauthenticated,
        stopping: parts.stopping.clone(),
    }
}

impl App {
    /// Builds every part, in the order of their dependencies.
    pub(crate) async fn build(config: &Config, clock: SharedClock) -> Result<Self, StartError> {
        if let Some(sentence) = keys::readable_by_others(config) {
            warn!("{sentence}");
        }
        let store = open_store(config, &*clock, StoreUse::Create).await?;
        let signing_key = Arc::new(identity::signing_key(&store, &config.server_name).await?);
        let audit = auditing::open(config, &store, Arc::clone(&clock)).await?;
        auditing::begin(&audit).await?;
        effective::note(config, &store, &audit).await?;
        let holds = holding::open(config, &store, &clock, &audit).await?;
        // What an older copy of the store has of persons who were erased since goes before anybody reads.
        let erased = erased_since(&store).await?;
        let accounts = accounts(config, store.clone(), Arc::clone(&clock), (audit.clone(), holds.clone())).await?;
        let (rooms, care) = rooms(config, &store, &clock, (&accounts, &audit, &holds), &signing_key).await?;
        forgetting::again(&rooms, erased).await?;
        let sync = Syncer::new(store.clone(), rooms.clone(), accounts.clone(), Arc::clone(&clock));
        let push = push(config, store.clone(), sync.unread().clone(), Arc::clone(&clock), audit.clone())?;
        push.start().await?;
        let limits = Arc::new(RateLimits::new(Arc::clone(&clock), config.rate_limits.enabled));
        let stopping = CancellationToken::new();
        auditing::watch(&audit, &care, &stopping);
        let media = media(config, store.clone(), Arc::clone(&clock), (audit.clone(), holds.clone())).await?;
        let notices = config.server_notices.settings();
        let notices = notices.map(|settings| Notices::new(accounts.clone(), rooms.clone(), settings));
        let parts = Parts {
            server_name: config.server_name.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            audit: audit.clone(),
            accounts: accounts.clone(),
            rooms: rooms.clone(),
            media: media.clone(),
            signing_key,
            stopping: stopping.clone(),
        };
        let federation = federation(config, &parts, &care).await?;
        Everything::of(&accounts, &media, federation.as_ref()).remember(&rooms);
        let media = media_state(config, &parts, federation.as_ref(), &limits);
        let directories = directories(config, Arc::clone(&clock), (accounts.clone(), care.clone()))?;
        let admin = AdminState {
            accounts: accounts.clone(),
            rooms: rooms.clone(),
            care: care.clone(),
            directories: directories.clone(),
            federation: federation.clone(),
            media: media.media.clone(),
            audit: audit.clone(),
            holds: holds.clone(),
            limits: Arc::clone(&limits),
            notices,
            backups: BackingUp::of(config, (&store, &audit), &clock),
            impersonation: config.admin.impersonation,
        };
        let federation_api =
            federation.clone().map(|federation| federation_api(config, parts, federation, (&sync, &care), &limits));
        let scim = scim(config, (&store, &clock, &audit), (&accounts, &rooms, &care), &limits)?;
        let exporting = Exporting::new(config, (&store, &clock), (&accounts, &audit), &limits)?;
        exporting.start(&stopping);
        let client = ClientState {
            sso: sso(config, accounts.clone(), Arc::clone(&clock))?,
            accounts,
            rooms,
            care: care.clone(),
            sync,
            push,
            federation,
            limits,
            settings: Arc::new(client_settings(config)),
            clock,
            audit,
            stopping,
        };
        let notices = admin.notices.as_ref();
        background::start(&client, (&media.media, holds, config), (&care, &directories), &scim.provisioning, notices);
        Ok(Self { store, client, media, admin, federation: federation_api, scim, exporting, requests: Arc::default() })
    }

    /// Cancelled to stop: long polls answer, background work ends.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.client.stopping
    }

    /// The audit trail.
    pub(crate) fn audit(&self) -> &AuditLog {
        &self.client.audit
    }

    /// The routes of a listener.
    pub(crate) fn routes(&self, serves: &[Serves]) -> Router {
        let mut routes = Router::new();
        for part in serves {
            routes = match part {
                Serves::Client => routes.merge(wardroom_client_api::router(self.client.clone())),
                Serves::Metrics => routes.merge(metrics::router(
                    self.store.clone(),
                    self.client.push.clone(),
                    self.media.media.clone(),
                    Arc::clone(&self.requests),
                    self.client.federation.clone(),
                    self.admin.directories.clone(),
                    self.exporting.feeds.clone(),
                )),
                Serves::Admin => routes.merge(wardroom_admin_api::router(self.admin.clone())),
                Serves::Scim => routes.merge(wardroom_scim_api::router(self.scim.clone())),
                Serves::Fhir => routes.merge(wardroom_fhir_api::router(self.exporting.fhir.clone())),
                Serves::Media => routes.merge(wardroom_client_api::media_router(self.media.clone())),
                Serves::Federation => match &self.federation {
                    Some(state) => routes.merge(wardroom_federation_api::router(state.clone())),
                    None => routes,
                },
            };
        }
        shell(routes, Arc::clone(&self.requests))
    }

    /// Writes what is only in memory and closes the store.
    pub(crate) async fn close(self) {
        if let Err(error) = self.client.accounts.flush_seen().await {
            warn!(%error, "when devices were last seen could not be written");
        }
        if let Err(error) = self.client.audit.finish_windows().await {
            warn!(%error, "the last reads are recorded at the next start");
        }
        auditing::end(&self.client.audit).await;
        drop((self.client, self.media, self.admin, self.federation, self.scim, self.exporting));
        self.store.close().await;
    }
}
