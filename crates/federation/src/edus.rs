//! What servers tell each other besides events: typing, receipts, presence, devices and messages to devices
//! (server-server API, sections "EDUs" to "Send-to-device messaging").

mod device_lists;
mod erasure;
mod receive;
mod tables;
mod tell;
mod waiting;
mod wire;

use std::{fmt, sync::Arc};

use ruma::{OwnedServerName, ServerName};
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_rooms::{RoomNid, Rooms};
use wardroom_store::Store;

pub use self::device_lists::OwnDeviceList;
pub(crate) use self::tables::{CURSORS, TOLD_DEVICES};
use crate::{FederationError, Outbox, Partners, Parts, RemoteDevices};

/// What servers tell each other besides events. Clones are cheap.
#[derive(Clone)]
pub struct Edus(Arc<Inner>);

struct Inner {
    server_name: OwnedServerName,
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
    outbox: Outbox,
    devices: RemoteDevices,
    waiting: waiting::WaitingReceipts,
    partners: Partners,
    audit: AuditLog,
    accept_erasure: bool,
}

impl fmt::Debug for Edus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edus").finish_non_exhaustive()
    }
}

impl Edus {
    pub(crate) fn new(
        parts: &Parts,
        partners: &Partners,
        (outbox, devices): (&Outbox, &RemoteDevices),
        accept_erasure: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            server_name: parts.server_name.clone(),
            store: parts.store.clone(),
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            outbox: outbox.clone(),
            devices: devices.clone(),
            waiting: waiting::WaitingReceipts::default(),
            partners: partners.clone(),
            audit: parts.audit.clone(),
            accept_erasure,
        }))
    }

    /// Tells other servers what they have to hear, and follows their users' devices, until the server stops.
    pub(crate) async fn run(&self) {
        futures_util::future::join(self.tell(), self.0.devices.run()).await;
    }

    /// The other servers in a room.
    async fn others_in(&self, room: RoomNid) -> Result<Vec<OwnedServerName>, FederationError> {
        let servers = self.0.rooms.servers(room).await?;
        Ok(servers.iter().filter(|server| **server != self.0.server_name).cloned().collect())
    }

    fn is_own(&self, server: &ServerName) -> bool {
        server == self.0.server_name
    }
}
