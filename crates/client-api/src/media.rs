//! The content repository (client-server API, section "Content repository"). Served by listeners of their own choice,
//! so its handlers have a state of their own.

mod download;
mod preview;
mod query;
mod range;
mod thumbnail;
mod upload;

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use ruma::{
    UInt,
    api::{
        client::{authenticated_media, media},
        error::ErrorKind,
    },
};
use tokio_util::sync::CancellationToken;
use wardroom_accounts::{Accounts, Session};
use wardroom_audit::{Act, AuditLog, Record};
use wardroom_federation::{RemoteMedia, RemoteMediaError};
use wardroom_media::{Content, InvalidMediaId, Media, MediaError, MediaId};
use wardroom_rooms::Rooms;
use wardroom_web::{ApiError, ApiState, RateLimits, Reply, Routes, Ruma};

use self::query::Params;
use crate::{
    caller::actor,
    error::{of_audit, of_room},
    sights::note_file,
};

/// What the handlers of the content repository work with. Clones are cheap.
#[derive(Clone, Debug)]
pub struct MediaState {
    /// Users and their tokens.
    pub accounts: Accounts,
    /// The content repository.
    pub media: Media,
    /// Rooms: what is named only in rooms with an access policy is for those who may read them.
    pub rooms: Rooms,
    /// Media of other servers, where this one speaks to any.
    pub remote: Option<RemoteMedia>,
    /// The audit trail.
    pub audit: AuditLog,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// Whether the old paths, which ask for no token, serve what this server has. The specification wants them frozen:
    /// then they serve nothing that was uploaded here.
    pub allow_unauthenticated: bool,
    /// Cancelled when the server stops: who waits for a content is answered at once then.
    pub stopping: CancellationToken,
}

impl ApiState for MediaState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

/// Every endpoint of the content repository.
pub fn routes() -> Routes<MediaState> {
    upload::routes()
        .merge(download::routes())
        .merge(thumbnail::routes())
        .merge(preview::routes())
        .merge(Routes::new().endpoint(get_config).endpoint(get_config_at_old_path))
}

async fn get_config(
    State(state): State<MediaState>,
    _request: Ruma<authenticated_media::get_media_config::v1::Request>,
) -> Result<Reply<authenticated_media::get_media_config::v1::Response>, ApiError> {
    Ok(Reply(authenticated_media::get_media_config::v1::Response::new(upload_size(&state))))
}

#[expect(deprecated, reason = "older clients ask there")]
async fn get_config_at_old_path(
    State(state): State<MediaState>,
    _request: Ruma<media::get_media_config::v3::Request>,
) -> Result<Reply<media::get_media_config::v3::Response>, ApiError> {
    Ok(Reply(media::get_media_config::v3::Response::new(upload_size(&state))))
}

fn upload_size(state: &MediaState) -> UInt {
    UInt::new_saturating(state.media.upload_bytes_max())
}

/// What a client is told of a failure. The one place that maps the repository's errors.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn told(error: MediaError) -> ApiError {
    let sentence = error.to_string();
    let bad = |kind| ApiError::new(StatusCode::BAD_REQUEST, kind, sentence.clone());
    match &error {
        MediaError::NotFound => ApiError::not_found(sentence),
        MediaError::NotYetUploaded => ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::NotYetUploaded, sentence),
        MediaError::AlreadyUploaded => ApiError::new(StatusCode::CONFLICT, ErrorKind::CannotOverwriteMedia, sentence),
        // The specification's section "Security considerations" has 403 M_FORBIDDEN for what a user may store in all.
        MediaError::NotCreator | MediaError::QuotaReached { .. } | MediaError::RefusedUrl | MediaError::Held(_) => {
            ApiError::forbidden(sentence)
        }
        MediaError::TooLarge { .. } | MediaError::TooLargeToThumbnail => ApiError::too_large(sentence),
        MediaError::RemoteTooLarge { .. } => too_large_elsewhere(sentence),
        MediaError::FilenameTooLong { .. } | MediaError::InvalidUrl(_) => ApiError::invalid_param(sentence),
        MediaError::Busy { retry_after } => ApiError::limit_exceeded(*retry_after),
        MediaError::NotAnImage => bad(ErrorKind::Unknown),
        MediaError::PreviewsOff => ApiError::unrecognized(),
        MediaError::Unreachable(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        MediaError::DiskFull => ApiError::disk_full(),
        MediaError::Damaged | MediaError::Stopped | MediaError::Io(_) | MediaError::Read(_) | MediaError::Commit(_) => {
            ApiError::internal(&error)
        }
    }
}

/// What a client is told of media of other servers.
fn told_of_remote(error: RemoteMediaError) -> ApiError {
    let sentence = error.to_string();
    match error {
        RemoteMediaError::NotFound => ApiError::not_found(sentence),
        RemoteMediaError::NotYetUploaded => {
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::NotYetUploaded, sentence)
        }
        RemoteMediaError::TooLarge { .. } | RemoteMediaError::TooLargeThere => too_large_elsewhere(sentence),
        RemoteMediaError::Failed => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        RemoteMediaError::Busy { retry_after } => ApiError::limit_exceeded(retry_after),
        RemoteMediaError::Media(error) => told(error),
    }
}

/// 502 `M_TOO_LARGE`, as the specification has it for media of other servers.
fn too_large_elsewhere(sentence: String) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::TooLarge, sentence)
}

/// The content that a path names, once it is there and is recorded to be read.
async fn content(
    state: &MediaState,
    session: Option<&Session>,
    (server_name, id): (&str, &str),
    params: &Params,
    endpoint: &'static str,
) -> Result<Content, ApiError> {
    let (media, wait) = (media_id(server_name, id)?, params.wait()?);
    let actor = session.map(actor);
    let uri = format!("mxc://{server_name}/{id}");
    if !state.rooms.may_see_media(actor, &uri).await.map_err(of_room)? {
        let record = Record::of(Act::RoleCheck).media(uri).detail(format!("read {endpoint}"));
        state.audit.denied(record).await.map_err(of_audit)?;
        return Err(ApiError::forbidden("This belongs to rooms that you may not read."));
    }
    let may_fetch = params.parse("allow_remote", "\"true\" or \"false\"")?.unwrap_or(true);
    let found = async {
        if state.media.is_local(&media) {
            return state.media.content(&media, wait).await.map_err(told);
        }
        match &state.remote {
            Some(remote) if may_fetch => remote.content(&media, wait).await.map_err(told_of_remote),
            // What is here needs no fetching.
            _ => state.media.remote_now(&media).await.and_then(|here| here.ok_or(MediaError::NotFound)).map_err(told),
        }
    };
    let found = state.stopping.run_until_cancelled(found).await;
    let found = found.unwrap_or_else(|| Err(told(MediaError::NotYetUploaded)))?;
    note_file(&state.audit, &uri, endpoint).await?;
    Ok(found)
}

/// The media that a path names.
fn media_id(server_name: &str, media_id: &str) -> Result<MediaId, ApiError> {
    MediaId::parse(server_name, media_id).map_err(|error: InvalidMediaId| ApiError::invalid_param(error.to_string()))
}

#[cfg(test)]
mod tests {
    use wardroom_federation::RemoteMediaError;
    use wardroom_media::MediaError;

    use super::{told, told_of_remote};

    #[test]
    fn errors_have_the_codes_of_the_specification() {
        let wait = std::time::Duration::from_secs(1);
        for (error, status, errcode) in [
            (MediaError::NotFound, 404, "NotFound"),
            (MediaError::NotYetUploaded, 504, "NotYetUploaded"),
            (MediaError::AlreadyUploaded, 409, "CannotOverwriteMedia"),
            (MediaError::NotCreator, 403, "Forbidden"),
            (MediaError::QuotaReached { bytes_max: 1 }, 403, "Forbidden"),
            (MediaError::TooLarge { bytes_max: 1 }, 413, "TooLarge"),
            (MediaError::RemoteTooLarge { bytes_max: 1 }, 502, "TooLarge"),
            (MediaError::TooLargeToThumbnail, 413, "TooLarge"),
            (MediaError::NotAnImage, 400, "Unknown"),
            (MediaError::Busy { retry_after: wait }, 429, "LimitExceeded"),
            (MediaError::Damaged, 500, "Unknown"),
            (MediaError::DiskFull, 500, "Unknown"),
        ] {
            let name = format!("{error:?}");
            let answer = told(error);
            assert_eq!(answer.status(), status, "{name}");
            assert!(format!("{answer:?}").contains(errcode), "{name}: {answer:?}");
        }
    }

    #[test]
    fn errors_of_other_servers_have_the_codes_of_the_specification() {
        for (error, status, errcode) in [
            (RemoteMediaError::NotFound, 404, "NotFound"),
            (RemoteMediaError::NotYetUploaded, 504, "NotYetUploaded"),
            (RemoteMediaError::TooLarge { bytes_max: 1 }, 502, "TooLarge"),
            (RemoteMediaError::TooLargeThere, 502, "TooLarge"),
            (RemoteMediaError::Failed, 502, "Unknown"),
            (RemoteMediaError::Media(MediaError::NotFound), 404, "NotFound"),
        ] {
            let name = format!("{error:?}");
            let answer = told_of_remote(error);
            assert_eq!(answer.status(), status, "{name}");
            assert!(format!("{answer:?}").contains(errcode), "{name}: {answer:?}");
        }
    }
}
