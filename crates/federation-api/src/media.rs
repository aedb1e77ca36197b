//! `GET /_matrix/federation/v1/media/download/{mediaId}` and `/thumbnail/{mediaId}` (server-server API, section
//! "Content Repository"): media of this server, in parts, streamed.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use rand::{RngExt as _, distr::Alphanumeric};
use ruma::{
    OwnedServerName, UInt,
    api::{
        error::ErrorKind,
        federation::authenticated_media::{get_content, get_content_thumbnail},
    },
    media,
};
use tracing::error as log_error;
use wardroom_audit::{Act, Record};
use wardroom_media::{Content, MediaError, MediaId, Method, Size, Thumbnail};
use wardroom_web::{ApiError, Class, Routes, content_disposition};

use crate::{FederationState, Signed, SignedRoutes as _, disclosures::sent, error};

/// Characters of the line between the parts: too many to be met in a content by chance.
const BOUNDARY_CHARS: usize = 40;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(download).signed(thumbnail)
}

async fn download(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_content::v1::Request>,
) -> Result<Response, ApiError> {
    let content = content(&state, &origin, &request.media_id, request.timeout_ms).await?;
    let uri = uri(&state, &request.media_id);
    state.disclose(sent(&origin, "media").media(uri)).await?;
    in_parts(&content).await
}

async fn thumbnail(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_content_thumbnail::v1::Request>,
) -> Result<Response, ApiError> {
    let side = |name, side: UInt| match u32::try_from(side) {
        Ok(0) => Err(ApiError::invalid_param(format!("{name}: it must be a number of pixels, 1 or more."))),
        Ok(side) => Ok(side),
        // Nothing is so large; the largest there is serves.
        Err(_) => Ok(u32::MAX),
    };
    let method = match request.method {
        Some(media::Method::Crop) => Method::Crop,
        Some(media::Method::Scale) | None => Method::Scale,
        Some(_) => return Err(ApiError::invalid_param("method: it must be \"crop\" or \"scale\".")),
    };
    let size = Size { width: side("width", request.width)?, height: side("height", request.height)?, method };
    let wanted = Thumbnail { size, animated: request.animated.unwrap_or(false) };
    let content = content(&state, &origin, &request.media_id, request.timeout_ms).await?;
    let thumbnail = state.media.thumbnail(&content, wanted).await.map_err(told)?;
    state.disclose(sent(&origin, "thumbnail").media(uri(&state, &request.media_id))).await?;
    in_parts(&thumbnail).await
}

fn uri(state: &FederationState, id: &str) -> String {
    format!("mxc://{}/{id}", state.server_name)
}

/// A content of this server, once it is there.
async fn content(
    state: &FederationState,
    origin: &OwnedServerName,
    id: &str,
    wait: Duration,
) -> Result<Content, ApiError> {
    state.limits.take(Class::Download, origin.as_str())?;
    let media = MediaId::parse(state.server_name.as_str(), id);
    let media = media.map_err(|error| ApiError::invalid_param(error.to_string()))?;
    let uri = uri(state, id);
    if !state.rooms.server_may_see_media(origin, &uri).await.map_err(error::of_room)? {
        state.deny(Record::of(Act::RoleCheck).media(uri).detail("read media")).await?;
        return Err(ApiError::forbidden("This belongs to rooms in which your server is not."));
    }
    state.media.content(&media, wait).await.map_err(told)
}

#[expect(clippy::disallowed_methods, reason = "no test needs to know it beforehand: the answer's header says it")]
fn boundary() -> String {
    rand::rng().sample_iter(&Alphanumeric).map(char::from).take(BOUNDARY_CHARS).collect()
}

/// What is known of the media, which is nothing yet, and the content.
async fn in_parts(content: &Content) -> Result<Response, ApiError> {
    let boundary = boundary();
    let disposition = content_disposition(&content.content_type, content.filename.as_deref());
    let mut head = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\nContent-Type: {}\r\n\
         Content-Disposition: ",
        content.content_type
    )
    .into_bytes();
    head.extend_from_slice(disposition.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    let tail = format!("\r\n--{boundary}--\r\n").into_bytes();
    let length = head.len() as u64 + content.length() + tail.len() as u64;
    let content = content.read(0..content.length()).await.map_err(told)?;
    let content = stream::try_unfold(content, async |mut content| {
        let next = content.next().await.inspect_err(|error| log_error!(%error, "a download broke off"))?;
        Ok::<_, MediaError>(next.map(|bytes| (bytes, content)))
    });
    let around = |bytes: Vec<u8>| stream::once(async { Ok(Bytes::from(bytes)) });
    let body = Body::from_stream(around(head).chain(content).chain(around(tail)));
    let mut response = body.into_response();
    let content_type = HeaderValue::try_from(format!("multipart/mixed; boundary={boundary}"));
    let content_type = content_type.map_err(|error| ApiError::internal(&error))?;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// What a server is told of a failure. The one place of this API that maps the repository's errors.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn told(error: MediaError) -> ApiError {
    let sentence = error.to_string();
    match &error {
        MediaError::NotFound => ApiError::not_found(sentence),
        MediaError::NotYetUploaded => ApiError::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::NotYetUploaded, sentence),
        MediaError::NotAnImage => ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence),
        MediaError::TooLargeToThumbnail => ApiError::too_large(sentence),
        MediaError::Busy { retry_after } => ApiError::limit_exceeded(*retry_after),
        MediaError::DiskFull => ApiError::disk_full(),
        _ => ApiError::internal(&error),
    }
}

#[cfg(test)]
mod tests {
    use wardroom_media::MediaError;

    use super::told;

    #[test]
    fn errors_have_the_codes_of_the_specification() {
        for (error, status) in [
            (MediaError::NotFound, 404),
            (MediaError::NotYetUploaded, 504),
            (MediaError::NotAnImage, 400),
            (MediaError::TooLargeToThumbnail, 413),
            (MediaError::Busy { retry_after: std::time::Duration::from_secs(1) }, 429),
            (MediaError::Damaged, 500),
        ] {
            let name = format!("{error:?}");
            assert_eq!(told(error).status(), status, "{name}");
        }
    }
}
