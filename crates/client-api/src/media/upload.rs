//! `POST /_matrix/media/v3/upload`, `POST /_matrix/media/v1/create` and
//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}` (client-server API, section "Content repository").

use std::time::Duration;

use axum::{
    Json,
    body::{Body, HttpBody as _},
    extract::{Path, State},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, EXPECT},
};
use http_body_util::BodyExt as _;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::{
        Metadata,
        client::media::{create_content, create_content_async, create_mxc_uri},
        error::ErrorKind,
        path_builder::PathBuilder as _,
    },
};
use serde_json::{Value, json};
use wardroom_media::{MediaId, Upload, UserNid};
use wardroom_web::{ApiError, Caller, Class, Reply, Routes, Ruma, drain};

use super::{MediaState, media_id, query::Params, told};

/// The longest silence within an upload: a connection that died must not keep one of the places for uploads.
const SILENCE_SECONDS_MAX: u64 = 60;
/// How long an upload may take in all. 100 MiB in this time are 240 kbit/s.
const UPLOAD_SECONDS_MAX: u64 = 60 * 60;

/// How much of a refused upload is read and thrown away at least, so that its sender reads the refusal, in bytes. It is
/// twice the largest upload otherwise: who sends more than that is not worth it.
const DRAIN_BYTES_MIN: usize = 16 * 1024 * 1024;

pub(super) fn routes() -> Routes<MediaState> {
    let mut routes = Routes::new().endpoint(create);
    for path in create_content::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::POST, path, upload);
    }
    for path in create_content_async::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::PUT, path, upload_to);
    }
    routes
}

async fn create(
    State(state): State<MediaState>,
    request: Ruma<create_mxc_uri::v1::Request>,
) -> Result<Reply<create_mxc_uri::v1::Response>, ApiError> {
    state.limits.take(Class::Upload, request.session.nid)?;
    let (media, expires_ms) = state.media.create(UserNid::new(request.session.nid.get())).await.map_err(told)?;
    let mut response = create_mxc_uri::v1::Response::new(media.uri().into());
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(UInt::new_saturating(expires_ms)));
    Ok(Reply(response))
}

async fn upload(
    State(state): State<MediaState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let media = receive(&state, &caller, None, &params, &headers, body).await?;
    Ok(Json(json!({ "content_uri": media.uri() })))
}

async fn upload_to(
    State(state): State<MediaState>,
    caller: Caller,
    Path((server_name, id)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let media = media_id(&server_name, &id)?;
    receive(&state, &caller, Some(&media), &params, &headers, body).await?;
    Ok(Json(json!({})))
}

/// Receives a content.
async fn receive(
    state: &MediaState,
    caller: &Caller,
    to: Option<&MediaId>,
    params: &Params,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<MediaId, ApiError> {
    let uploaded = async {
        state.limits.take(Class::Upload, caller.session.nid)?;
        let user = UserNid::new(caller.session.nid.get());
        let filename = params.get("filename");
        wardroom_media::check_filename(filename).map_err(told)?;
        let mut upload = state.media.upload(user, to, body.size_hint().exact()).await.map_err(told)?;
        let limit = Duration::from_secs(UPLOAD_SECONDS_MAX);
        tokio::time::timeout(limit, stream(&mut body, &mut upload)).await.map_err(|_| too_slow())??;
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        upload.finish(content_type, filename).await.map_err(told)
    }
    .await;
    // Who waits for "100 Continue" has sent nothing yet and need not.
    if uploaded.is_err() && !headers.contains_key(EXPECT) {
        let twice = state.media.upload_bytes_max().saturating_mul(2);
        drain(body, usize::try_from(twice).unwrap_or(usize::MAX).max(DRAIN_BYTES_MIN)).await;
    }
    uploaded
}

async fn stream(body: &mut Body, upload: &mut Upload) -> Result<(), ApiError> {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(SILENCE_SECONDS_MAX), body.frame()).await;
        let Some(frame) = frame.map_err(|_| too_slow())? else { return Ok(()) };
        let broken = "The request body broke off.";
        let frame = frame.map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, broken))?;
        if let Some(data) = frame.data_ref() {
            upload.write(data).await.map_err(told)?;
        }
    }
}

fn too_slow() -> ApiError {
    let sentence = format!(
        "The content did not arrive within {UPLOAD_SECONDS_MAX} s, or nothing of it for {SILENCE_SECONDS_MAX} s."
    );
    ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unknown, sentence)
}
