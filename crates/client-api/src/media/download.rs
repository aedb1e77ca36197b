//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}` with or without `{fileName}`, and the older paths
//! that ask for no token (client-server API, section "Content repository").

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, State},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use ruma::api::{
    Metadata,
    client::{authenticated_media, media},
    path_builder::PathBuilder as _,
};
use tracing::error;
use wardroom_accounts::Session;
use wardroom_media::{Content, ContentStream, check_filename};
use wardroom_web::{ApiError, Caller, Class, Routes, Subject, content_disposition};

use super::{
    MediaState, content,
    query::Params,
    range::{Part, part},
    told,
};

/// What a browser may do with a content: nothing but show it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; \
     object-src 'self';",
);
/// Contents never change, so clients need not ask again; after a day they do, in case it was taken away. No proxy may
/// keep what only some may see.
const CACHING: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[expect(deprecated, reason = "older clients ask there")]
pub(super) fn routes() -> Routes<MediaState> {
    let mut routes = Routes::new();
    for path in authenticated_media::get_content::v1::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, download::<SignedIn>);
    }
    for path in authenticated_media::get_content_as_filename::v1::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, download_as::<SignedIn>);
    }
    for path in media::get_content::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, download::<Anybody>);
    }
    for path in media::get_content_as_filename::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, download_as::<Anybody>);
    }
    routes
}

/// Who asks for a content.
pub(super) trait Downloader: FromRequestParts<MediaState, Rejection = ApiError> + Send + 'static {
    /// Their session, if they have one.
    fn session(&self) -> Option<&Session>;
}

/// Somebody with an access token, within the limit of downloads.
#[derive(Debug)]
pub(super) struct SignedIn(Session);

impl Downloader for SignedIn {
    fn session(&self) -> Option<&Session> {
        Some(&self.0)
    }
}

impl FromRequestParts<MediaState> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &MediaState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        state.limits.take(Class::Download, caller.session.nid)?;
        Ok(Self(caller.session))
    }
}

/// Anybody, where the operator has not frozen the old paths.
#[derive(Debug)]
pub(super) struct Anybody;

impl Downloader for Anybody {
    fn session(&self) -> Option<&Session> {
        None
    }
}

impl FromRequestParts<MediaState> for Anybody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &MediaState) -> Result<Self, ApiError> {
        if !state.allow_unauthenticated {
            return Err(ApiError::not_found(
                "Media of this server are only at the paths that ask for an access token.",
            ));
        }
        state.limits.take(Class::Download, Subject::Ip(wardroom_web::client_ip(parts)))?;
        Ok(Self)
    }
}

async fn download<C: Downloader>(
    State(state): State<MediaState>,
    caller: C,
    Path((server_name, id)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let content = content(&state, caller.session(), (&server_name, &id), &params, "download").await?;
    serve(&content, &headers).await
}

async fn download_as<C: Downloader>(
    State(state): State<MediaState>,
    caller: C,
    Path((server_name, id, filename)): Path<(String, String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let filename = check_filename(Some(&filename)).map_err(told)?.map(str::to_owned);
    let content = content(&state, caller.session(), (&server_name, &id), &params, "download").await?;
    serve(&content.named(filename), &headers).await
}

/// Answers with a content, or the part of it that the request asks for.
pub(super) async fn serve(content: &Content, headers: &HeaderMap) -> Result<Response, ApiError> {
    let asked = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let tag = format!("\"{}\"", content.tag());
    let known = asked(IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',').any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
    });
    if known {
        return Ok((StatusCode::NOT_MODIFIED, common(&tag)).into_response());
    }
    // A part of what the client has the beginning of; if that was something else, it needs the whole.
    let range = asked(RANGE).filter(|_| asked(IF_RANGE).is_none_or(|known| known == tag));
    let length = content.length();
    let (status, bytes) = match part(range, length) {
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Bytes(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Part::Beyond => {
            let range = [(CONTENT_RANGE, number(format!("bytes */{length}")))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, common(&tag), range).into_response());
        }
    };
    let stream = content.read(bytes.clone()).await.map_err(told)?;
    let mut response = (status, common(&tag), body(stream)).into_response();
    let head = response.headers_mut();
    let content_type = HeaderValue::try_from(content.content_type.as_str());
    head.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    head.insert(CONTENT_DISPOSITION, content_disposition(&content.content_type, content.filename.as_deref()));
    head.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if status == StatusCode::PARTIAL_CONTENT {
        head.insert(CONTENT_RANGE, number(format!("bytes {}-{}/{length}", bytes.start, bytes.end - 1)));
    }
    Ok(response)
}

/// Headers of every answer about a content.
fn common(tag: &str) -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, CACHING),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (ETAG, number(tag.to_owned())),
    ]
}

/// A header of digits and punctuation.
fn number(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn body(stream: ContentStream) -> Body {
    Body::from_stream(stream::try_unfold(stream, async |mut stream| {
        let next = stream.next().await.inspect_err(|error| error!(%error, "a download broke off"))?;
        Ok::<_, wardroom_media::MediaError>(next.map(|bytes| (bytes, stream)))
    }))
}
