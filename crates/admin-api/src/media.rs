//! Media. Paths and shapes are Synapse's, for the tools that exist. Nothing here shows what is in a file.

mod delete;
mod hide;
mod statistics;
mod user_media;

use serde::Serialize;
use wardroom_media::{MediaError, MediaId, MediaInfo, UserNid};
use wardroom_web::ApiError;

use crate::{AdminState, endpoint::Endpoints};

pub(crate) fn endpoints() -> Endpoints {
    hide::endpoints().merge(delete::endpoints()).merge(user_media::endpoints()).merge(statistics::endpoints())
}

/// What an administrator is told of a failure with media.
pub(crate) fn of_media(error: MediaError) -> ApiError {
    match error {
        MediaError::NotFound => ApiError::not_found(error.to_string()),
        MediaError::Held(_) => ApiError::forbidden(error.to_string()),
        MediaError::Busy { retry_after } => ApiError::limit_exceeded(retry_after),
        MediaError::DiskFull => ApiError::disk_full(),
        error => ApiError::internal(&error),
    }
}

fn media_id(server: &str, id: &str) -> Result<MediaId, ApiError> {
    MediaId::parse(server, id).map_err(|wrong| ApiError::invalid_param(wrong.to_string()))
}

/// A media of an `mxc://` URI, if it is one.
fn of_uri(uri: &str) -> Option<MediaId> {
    let (server, id) = uri.strip_prefix("mxc://")?.split_once('/')?;
    MediaId::parse(server, id).ok()
}

fn no_such_media() -> ApiError {
    ApiError::not_found("media_id: there is no such media on this server.")
}

/// A media as lists show it.
#[derive(Serialize)]
struct Shown {
    media_id: String,
    media_type: Option<String>,
    media_length: Option<u64>,
    upload_name: Option<String>,
    created_ts: u64,
    last_access_ts: Option<u64>,
    quarantined_by: Option<String>,
    safe_from_quarantine: bool,
}

impl Shown {
    async fn of(state: &AdminState, info: MediaInfo) -> Result<Self, ApiError> {
        let quarantined_by = match info.quarantined_by {
            Some(by) => name(state, by).await?,
            None => None,
        };
        Ok(Self {
            media_id: info.media.id().to_owned(),
            media_type: info.content_type,
            media_length: info.length,
            upload_name: info.filename,
            created_ts: info.created_ms,
            last_access_ts: info.last_used_ms,
            quarantined_by,
            safe_from_quarantine: info.protected,
        })
    }
}

/// The id of a user of this server.
async fn name(state: &AdminState, user: UserNid) -> Result<Option<String>, ApiError> {
    let user = state.accounts.user_by_nid(wardroom_accounts::UserNid::new(user.get())).await?;
    Ok(user.map(|user| user.id.to_string()))
}
