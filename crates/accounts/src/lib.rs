//! Users, their devices and tokens, encryption keys and messages of devices, user-interactive authentication, profiles,
//! account data, push rules and filters, over `wardroom-store`. Knows nothing of HTTP, and of rooms only their numbers.
//!
//! Invariants:
//! - A user's row is never deleted, so that a name is never given out twice.
//! - A token is stored as a keyed hash only; who reads the store learns no token.
//! - A session is in the cache only while its token is good: whatever ends a token removes it from the cache before
//!   the commit is published ([`session`](Session)).
//! - `account_data_changes` holds exactly one row per row of `account_data`, under the position of its newest write.
//! - Whatever a `/sync` of the user shows touches the user's watch key in the same batch, or the device's.
//! - With a device go its keys, its one-time keys and what waited for it, in the same batch.
//! - A person of an identity provider has one account for ever, and an account at most one person of a provider.

mod access_token;
mod account_data;
mod admin_scopes;
mod backup;
mod contact_rules;
mod deeds;
mod dehydrated;
mod device;
mod device_lists;
mod error;
mod filter;
mod fresh_cache;
mod identities;
mod impersonation;
mod keys;
mod last_seen;
mod listing;
mod localpart;
mod login;
mod moderation;
mod named_media;
mod notice_room;
mod password;
mod person;
mod presence;
mod profile;
mod profile_fields;
mod push_rules;
mod pushers;
mod refresh;
mod registration;
mod registration_tokens;
mod reopening;
mod room_settings;
mod secret;
mod session;
mod settings;
mod shared_secret;
mod short_lived;
mod sso;
mod tables;
mod tag;
mod to_device;
mod uia;
mod user;
mod user_directory;
mod user_name;

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_store::Store;

pub use self::{
    account_data::{
        ACCOUNT_DATA_BYTES_MAX, ACCOUNT_DATA_TYPE_BYTES_MAX, ACCOUNT_DATA_TYPES_MAX, AccountDatum, DataScope,
    },
    admin_scopes::{AdminScope, AdminScopes},
    backup::{
        BACKUP_AUTH_DATA_BYTES_MAX, BACKUP_KEYS_PER_REQUEST_MAX, BACKUP_KEYS_PER_USER_MAX, BACKUP_NAME_BYTES_MAX,
        BACKUP_PAGE_KEYS, BACKUP_SESSION_BYTES_MAX, BACKUP_VERSIONS_MAX, BackupCursor, BackupError, BackupInfo,
        BackupKey, BackupKeyData, BackupPage, BackupState, KeyChoice,
    },
    contact_rules::IgnoredUsers,
    dehydrated::{
        BadDehydratedToken, DEHYDRATED_DATA_BYTES_MAX, DEHYDRATED_EVENTS_MAX, Dehydrated, DehydratedEvents,
        DehydratedToken, NewDehydrated,
    },
    device::{DEVICE_DISPLAY_NAME_CHARS_MAX, DEVICE_ID_BYTES_MAX, DEVICES_PER_USER_MAX, Device},
    device_lists::Audience,
    error::{AccountError, TokenError},
    filter::{FILTER_BYTES_MAX, FILTERS_PER_USER_MAX},
    identities::{
        ExternalId, IDENTITIES_PER_USER_MAX, IDENTITY_BYTES_MAX, Identities, Identity, ThirdPartyId, canonical_address,
    },
    keys::{
        CROSS_SIGNING_KEY_BYTES_MAX, ClaimedKey, CrossSigningKeys, CrossSigningOutcome, CrossSigningUpload,
        DEVICE_KEYS_BYTES_MAX, DeviceRef, DeviceSnapshot, DeviceUpdate, FALLBACK_KEYS_PER_DEVICE_MAX, KEY_ID_BYTES_MAX,
        KeyCounts, KeyUpload, ListState, ONE_TIME_KEY_BYTES_MAX, ONE_TIME_KEYS_PER_DEVICE_MAX, QueriedDevice,
        RemoteDevice, SIGNATURES_PER_REQUEST_MAX, SignatureFailure, Updated, WATCH_DEVICE,
    },
    listing::{ListedUser, UserOrder, UserPage, UserQuery},
    localpart::localpart_of,
    login::{Login, LoginRequest},
    moderation::Moderation,
    password::{PASSWORD_BYTES_MAX, PASSWORDS_WAITING_MAX},
    person::erased_since,
    presence::{
        Availability, PRESENCE_ACTIVE_FOR, PRESENCE_ELSEWHERE_FOR, PRESENCE_ELSEWHERE_MAX, PRESENCE_IDLE_AFTER,
        PRESENCE_OFFLINE_AFTER, PRESENCE_USERS_MAX, Presence, PresenceChange, PresenceElsewhere, PresenceView,
        STATUS_MSG_BYTES_MAX, SyncMark, presence_watch_of_room, presence_watch_of_user,
    },
    profile::{AVATAR_URL_BYTES_MAX, DISPLAY_NAME_CHARS_MAX, Profile},
    profile_fields::{PROFILE_BYTES_MAX, PROFILE_KEY_BYTES_MAX, ProfileFields},
    push_rules::OWN_USER_ID,
    pushers::{
        APP_ID_CHARS_MAX, NewPusher, PUSHER_DATA_BYTES_MAX, PUSHER_TEXT_CHARS_MAX, PUSHERS_PER_USER_MAX,
        PUSHKEY_BYTES_MAX, Pusher,
    },
    refresh::Refreshed,
    registration::{NewUser, Registered, RegistrationWish, Remembered},
    registration_tokens::{
        REGISTRATION_TOKEN_CHARS_MAX, REGISTRATION_TOKENS_MAX, RegistrationToken, new_registration_token,
    },
    session::{SESSIONS_CACHED_MAX, Session, SessionData},
    settings::{PasswordCost, REFRESHABLE_ACCESS_MS_DEFAULT, Registration, Settings, TokenLifetimes},
    shared_secret::{NONCE_LIFETIME_MS, NONCES_MAX, SharedSecretRegistration},
    short_lived::{LOGIN_TOKEN_LIFETIME, OPENID_TOKEN_LIFETIME},
    sso::{ClaimsListener, SSO_EMAIL_BYTES_MAX, SSO_LINKS_PER_USER_MAX, SsoIdentity, SsoLink, SsoNewcomer},
    tables::{NS_USER, TABLES, WATCH_PRESENCE, WATCH_USER},
    tag::{TAG_BYTES_MAX, TAGS_PER_ROOM_MAX},
    to_device::{
        INBOX_BYTES_MAX, INBOX_MESSAGES_MAX, OutgoingToDevice, TO_DEVICE_CONTENT_BYTES_MAX,
        TO_DEVICE_REQUEST_BYTES_MAX, TO_DEVICE_TYPE_BYTES_MAX, ToDeviceEvent, ToDeviceMessages, ToDeviceTarget,
        WATCH_OUTGOING,
    },
    uia::{UIA_SESSION_LIFETIME_MS, UIA_SESSIONS_MAX, UiaBinding, UiaOutcome, UiaRequest},
    user::{LogoutDevices, User, UserNid},
    user_directory::{FoundUsers, OTHERS_MAX},
};

/// All accounts of one server. Clones share everything.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: Store,
    clock: SharedClock,
    audit: AuditLog,
    settings: Settings,
    passwords: password::PasswordHasher,
    sessions: Arc<session::SessionCache>,
    last_seen: last_seen::LastSeen,
    uia: uia::UiaSessions,
    nonces: shared_secret::Nonces,
    rulesets: push_rules::RulesetCache,
    pushers: Arc<pushers::PusherIndex>,
    filters: filter::FilterCache,
    directory: user_directory::UserDirectory,
    listing: listing::Listing,
    registration_tokens: registration_tokens::TokenCount,
    backups: backup::BackupWriters,
    key_locks: keys::KeyLocks,
    inboxes: to_device::InboxSizes,
    audience: OnceLock<Box<dyn Audience>>,
    /// Position of the newest change of somebody's devices, zero if there was none since the start.
    newest_device_change: Arc<AtomicU64>,
    contact_rules: contact_rules::ContactRulesCache,
    presence: Presence,
    openid_tokens: short_lived::ShortLived,
    login_tokens: short_lived::ShortLived,
    ended_sessions: sso::EndedSessions,
    over: deeds::Over,
    claims_listener: OnceLock<Box<dyn ClaimsListener>>,
}

impl Accounts {
    /// Accounts kept in `store`, whose catalogue has [`TABLES`].
    ///
    /// # Errors
    /// [`AccountError::Settings`] when the password cost is not one that argon2 allows.
    pub async fn new(
        store: Store,
        clock: SharedClock,
        audit: AuditLog,
        settings: Settings,
    ) -> Result<Self, AccountError> {
        let passwords = password::PasswordHasher::new(settings.password).await?;
        let registration_tokens = registration_tokens::TokenCount::load(&store).await?;
        let pushers = Arc::new(pushers::PusherIndex::load(&store).await?);
        let presence = Presence::load(&store, Arc::clone(&clock), settings.presence, &settings.server_name).await?;
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            audit,
            settings,
            passwords,
            sessions: Arc::new(session::SessionCache::new(SESSIONS_CACHED_MAX)),
            last_seen: last_seen::LastSeen::default(),
            uia: uia::UiaSessions::default(),
            nonces: shared_secret::Nonces::default(),
            rulesets: push_rules::RulesetCache::default(),
            pushers,
            filters: filter::FilterCache::default(),
            directory: user_directory::UserDirectory::default(),
            listing: listing::Listing::default(),
            registration_tokens,
            backups: backup::BackupWriters::default(),
            key_locks: keys::KeyLocks::default(),
            inboxes: to_device::InboxSizes::default(),
            audience: OnceLock::new(),
            newest_device_change: Arc::default(),
            contact_rules: contact_rules::ContactRulesCache::default(),
            presence,
            openid_tokens: short_lived::ShortLived::openid(),
            login_tokens: short_lived::ShortLived::login(),
            ended_sessions: sso::EndedSessions::default(),
            over: deeds::over(),
            claims_listener: OnceLock::new(),
        })))
    }

    /// The settings given at the start.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The time, in milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
