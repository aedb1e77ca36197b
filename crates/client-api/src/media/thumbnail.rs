//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}` and its older path (client-server API, section
//! "Thumbnails").

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, Method};
use ruma::api::{
    Metadata,
    client::{authenticated_media, media},
    path_builder::PathBuilder as _,
};
use wardroom_media::{Method as Shape, Size, Thumbnail};
use wardroom_web::{ApiError, Routes};

use super::{
    MediaState, content,
    download::{Anybody, Downloader, SignedIn, serve},
    query::Params,
    told,
};

#[expect(deprecated, reason = "older clients ask there")]
pub(super) fn routes() -> Routes<MediaState> {
    let mut routes = Routes::new();
    for path in authenticated_media::get_content_thumbnail::v1::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, thumbnail::<SignedIn>);
    }
    for path in media::get_content_thumbnail::v3::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, thumbnail::<Anybody>);
    }
    routes
}

async fn thumbnail<C: Downloader>(
    State(state): State<MediaState>,
    caller: C,
    Path((server_name, id)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = wanted(&params)?;
    let content = content(&state, caller.session(), (&server_name, &id), &params, "thumbnail").await?;
    let thumbnail = state.media.thumbnail(&content, wanted).await.map_err(told)?;
    serve(&thumbnail, &headers).await
}

fn wanted(params: &Params) -> Result<Thumbnail, ApiError> {
    let side = |name| {
        let side = params.parse::<u32>(name, "a number of pixels, 1 or more")?;
        match side {
            None => Err(ApiError::missing_param(format!("{name}: it is missing."))),
            Some(0) => Err(ApiError::invalid_param(format!("{name}: it must be a number of pixels, 1 or more."))),
            Some(side) => Ok(side),
        }
    };
    let (width, height) = (side("width")?, side("height")?);
    let method = match params.get("method") {
        None | Some("scale") => Shape::Scale,
        Some("crop") => Shape::Crop,
        Some(_) => return Err(ApiError::invalid_param("method: it must be \"crop\" or \"scale\".")),
    };
    let animated = params.parse("animated", "\"true\" or \"false\"")?.unwrap_or(false);
    Ok(Thumbnail { size: Size { width, height, method }, animated })
}
