//! Other servers: finding and trusting them, what they send, what is sent to them, and the rooms that are shared.
//!
//! Invariants:
//!
//! - Nothing is sent to, and nothing taken from, a server that [`Partners`] does not admit.
//! - An event of another server reaches `rooms` only after its signatures and hash were checked.
//! - Whatever has to reach another server is durable before it is sent, and sent again until it was taken.
//! - Work that another server causes is bounded: in bytes, in requests, in time.
//!
//! Deliberately absent: HTTP towards us, which is `federation-api`.

mod ask;
mod attestations;
mod devices;
mod edus;
mod error;
mod ingest;
mod lanes;
mod outbox;
mod partners;
mod policy_server;
mod profiles;
mod remote_media;
mod remote_rooms;
mod third_party;
mod user_directory;
mod witness;

use std::sync::Arc;

use ruma::OwnedServerName;
use tokio_util::sync::CancellationToken;
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_event::SigningKey;
use wardroom_media::Media;
use wardroom_rooms::Rooms;
use wardroom_store::{Store, TableSpec};

pub use self::{
    attestations::{AttestationError, RemoteAttestations},
    devices::{KEYS_TIMEOUT_MAX, KeyAnswers, KeyClaim, KeyClaims, RemoteDevices, RemoteKeys},
    edus::{Edus, OwnDeviceList},
    error::FederationError,
    ingest::Ingest,
    outbox::{
        DestinationOrder, DestinationQuery, DestinationRoom, DestinationRooms, DestinationSample, DestinationView,
        Destinations, EDU_BYTES_MAX, Outbox, OutboxStats, OutgoingEdu,
    },
    partners::{
        AskedKeys, CheckedEvent, Finding, Limits, ListSettings, ListSource, NOTARY_SERVERS_MAX, OldKey,
        POLICY_PATTERN_BYTES_MAX, POLICY_PATTERNS_MAX, Partner, PartnerError, PartnerSettings, Partners, Pin, Policy,
        RequestSignature, SignatureError, Verdict, diagnose, parse_pin,
    },
    profiles::{ProfileError, RemoteProfile, RemoteProfiles},
    remote_media::{RemoteMedia, RemoteMediaError},
    remote_rooms::{Invitation, Lookups, Passage, RemoteError, RemoteRooms, ToldRoom},
    third_party::{Bound, Exchange, INVITES_PER_NOTICE_MAX, ThirdPartyError, ThirdPartyInvites},
    witness::{Rounds, Trail, Trails, Witness, WitnessAlarm, WitnessAlarms, WitnessError, WitnessSettings},
};

/// The tables of this crate (ids 0x0500 to 0x05FF), for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *outbox::tables::DESTINATIONS.spec(),
    *outbox::tables::EVENTS.spec(),
    *outbox::tables::CATCH_UP.spec(),
    *outbox::tables::EDUS.spec(),
    *outbox::tables::SENT.spec(),
    *partners::SERVER_KEYS.spec(),
    *partners::OLDER_DOCUMENTS.spec(),
    *partners::POLICY.spec(),
    *partners::LIST.spec(),
    *ingest::staging::STAGED.spec(),
    *edus::TOLD_DEVICES.spec(),
    *edus::CURSORS.spec(),
];

/// What the parts are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Name of this server.
    pub server_name: OwnedServerName,
    /// The store.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// The audit trail.
    pub audit: AuditLog,
    /// Users of this server.
    pub accounts: Accounts,
    /// The rooms.
    pub rooms: Rooms,
    /// The content repository.
    pub media: Media,
    /// Key that signs requests and events of this server.
    pub signing_key: Arc<SigningKey>,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
}

/// Everything that has to do with other servers. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Who they are and how to speak to them.
    pub partners: Partners,
    /// What is sent to them.
    pub outbox: Outbox,
    /// Events that they send.
    pub ingest: Ingest,
    /// Rooms that they are in and this server is not, or not yet.
    pub rooms: RemoteRooms,
    /// What they send besides events.
    pub edus: Edus,
    /// Devices and keys of their users.
    pub devices: RemoteDevices,
    /// Profiles of their users.
    pub profiles: RemoteProfiles,
    /// Media of their users.
    pub media: RemoteMedia,
    /// Invitations of people whose user id was not known.
    pub third_party: ThirdPartyInvites,
    /// What they say of the roles of their users.
    pub attestations: RemoteAttestations,
    /// Their audit trails, and what they say of this server's.
    pub witness: Witness,
    filling: user_directory::Filling,
}

impl Federation {
    /// Puts the parts together. Nothing runs yet: see [`Federation::run`].
    ///
    /// # Errors
    /// When the client for requests cannot be made.
    pub fn new(parts: &Parts, settings: PartnerSettings) -> Result<Self, PartnerError> {
        let elsewhere = remote_media::elsewhere(&settings)?;
        let witness = settings.witness.clone();
        let accept_erasure = settings.accept_erasure;
        let partners = Partners::new(parts, settings)?;
        let witness = Witness::new(parts, &partners, witness);
        let outbox = Outbox::new(parts, &partners);
        let ingest = Ingest::new(parts, &partners);
        let rooms = RemoteRooms::new(parts, &partners, &ingest, &outbox);
        let devices = RemoteDevices::new(parts, &partners);
        let edus = Edus::new(parts, &partners, (&outbox, &devices), accept_erasure);
        let profiles = RemoteProfiles::new(parts, &partners);
        let media = RemoteMedia::new(parts, &partners, elsewhere);
        parts.rooms.ask_policy_servers_by(Arc::new(policy_server::PolicyClient::new(&partners)));
        user_directory::Listing::start(parts);
        let filling = user_directory::Filling::new(parts);
        let third_party = ThirdPartyInvites::new(parts, &partners, &rooms);
        let attestations = RemoteAttestations::new(&partners);
        Ok(Self {
            partners,
            outbox,
            ingest,
            rooms,
            edus,
            devices,
            profiles,
            media,
            third_party,
            attestations,
            witness,
            filling,
        })
    }

    /// Reads what was decided before this start. To be called once, before anything else.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self) -> Result<(), PartnerError> {
        self.partners.load().await
    }

    /// Sends and fetches in the background until the server stops.
    pub async fn run(self) {
        let (sending, receiving) = (self.outbox.run(), self.ingest.run());
        let others = futures_util::future::join3(self.partners.run(), self.filling.run(), self.witness.run());
        futures_util::future::join4(sending, receiving, self.edus.run(), others).await;
    }
}
