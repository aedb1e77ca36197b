//! Encryption keys and messages to devices (client-server API, sections "End-to-End Encryption" and "Send-to-Device
//! messaging").

mod claim_keys;
mod get_key_changes;
mod get_keys;
mod send_event_to_device;
mod upload_keys;
mod upload_signatures;
mod upload_signing_keys;

use ruma::ServerName;
use serde_json::{Value, json};
use wardroom_web::Routes;

use crate::ClientState;

/// Every endpoint of this module.
pub(crate) fn routes() -> Routes<ClientState> {
    upload_keys::routes()
        .merge(get_keys::routes())
        .merge(claim_keys::routes())
        .merge(get_key_changes::routes())
        .merge(upload_signing_keys::routes())
        .merge(upload_signatures::routes())
        .merge(send_event_to_device::routes())
}

/// An entry of `failures` for a server that did not answer, or is not asked.
fn unreachable_server(server: &ServerName) -> (String, Value) {
    (server.to_string(), json!({ "errcode": "M_UNKNOWN", "error": "The server cannot be reached." }))
}
