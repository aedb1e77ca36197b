//! Accounts. Paths and shapes are Synapse's, for the tools that exist; what this server does not have is `null` or empty
//! there, as it is with Synapse where it is not used.

mod change;
mod close;
mod devices;
mod erase;
mod export;
mod find;
mod list;
mod memberships;
mod moderate;
mod scopes;
mod show;

use serde::Serialize;
use wardroom_accounts::{ListedUser, Moderation, User};

use crate::{AdminState, endpoint::Endpoints};

pub(crate) fn endpoints() -> Endpoints {
    list::endpoints()
        .merge(show::endpoints())
        .merge(change::endpoints())
        .merge(close::endpoints())
        .merge(erase::endpoints())
        .merge(devices::endpoints())
        .merge(export::endpoints())
        .merge(memberships::endpoints())
        .merge(find::endpoints())
        .merge(moderate::endpoints())
        .merge(scopes::endpoints())
}

/// What lists and single answers have in common.
#[derive(Debug, Serialize)]
struct Common {
    name: String,
    displayname: Option<String>,
    avatar_url: Option<String>,
    is_guest: bool,
    admin: bool,
    deactivated: bool,
    /// What the user sent is redacted towards other servers.
    erased: bool,
    shadow_banned: bool,
    locked: bool,
    suspended: bool,
    approved: bool,
    creation_ts: u64,
    last_seen_ts: Option<u64>,
    user_type: Option<String>,
}

impl Common {
    async fn of(state: &AdminState, listed: ListedUser) -> Result<Self, wardroom_web::ApiError> {
        let ListedUser { user, displayname, avatar_url, moderation, last_seen_ms } = listed;
        let Moderation { locked, suspended } = moderation;
        let User { id, nid, created_ms, admin, guest, deactivated } = user;
        let number = wardroom_rooms::UserNid::new(nid.get());
        Ok(Self {
            name: id.to_string(),
            displayname,
            avatar_url,
            is_guest: guest,
            admin,
            deactivated,
            erased: state.rooms.is_erased_user(number).await.map_err(crate::error::of_room)?,
            shadow_banned: false,
            locked,
            suspended,
            approved: true,
            creation_ts: created_ms,
            last_seen_ts: last_seen_ms,
            user_type: state.accounts.identities(nid).await?.user_type,
        })
    }
}
