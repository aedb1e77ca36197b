//! `GET /_matrix/client/v1/media/preview_url` and its older path (client-server API, section "Content repository").

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Method,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use ruma::api::{
    Metadata,
    client::{authenticated_media, media},
    path_builder::PathBuilder as _,
};
use wardroom_audit::{Act, Record};
use wardroom_web::{ApiError, Caller, Class, Routes};

use super::{MediaState, query::Params, told};
use crate::error::of_audit;

#[expect(deprecated, reason = "older clients ask there")]
pub(super) fn routes() -> Routes<MediaState> {
    let mut routes = Routes::new();
    let paths = authenticated_media::get_media_preview::v1::Request::PATH_BUILDER.all_paths();
    for path in paths.chain(media::get_media_preview::v3::Request::PATH_BUILDER.all_paths()) {
        routes = routes.plain(Method::GET, path, preview);
    }
    routes
}

async fn preview(State(state): State<MediaState>, caller: Caller, params: Params) -> Result<Response, ApiError> {
    let url = params.get("url").ok_or_else(|| ApiError::missing_param("url: it is missing."))?;
    // Only the newest version is ever had, which the specification allows.
    params.parse::<u64>("ts", "a time in milliseconds since 1970")?;
    state.limits.take(Class::Preview, caller.session.nid)?;
    let json = state.media.preview(url).await.map_err(told)?;
    let record = Record::of(Act::MediaRead).query(url).detail("preview_url");
    state.audit.repeated(record).await.map_err(of_audit)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600")),
    ];
    Ok((headers, json.to_string()).into_response())
}
