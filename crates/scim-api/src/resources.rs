//! Users and groups (RFC 7644, section 3).

use std::future::Future;

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use wardroom_provisioning::ResourceKind;
use wardroom_web::to_the_end;

use crate::{
    ScimState, answer,
    answer::Refusal,
    request::{Asked, body, query_of},
};

/// The id in a path.
pub(crate) type Path = axum::extract::Path<String>;

/// A change runs to its end even if the directory hangs up.
async fn changing(work: impl Future<Output = Result<Response, Refusal>> + Send + 'static) -> Response {
    to_the_end(async { work.await.into_response() }).await
}

/// `GET /Users`, `GET /Groups`.
pub(crate) async fn list(
    kind: ResourceKind,
    State(state): State<ScimState>,
    request: Request,
) -> Result<Response, Refusal> {
    let query = Asked::of(&request).query()?;
    Ok(answer::list(&state.provisioning.list(&[kind], &query).await?))
}

/// `POST /Users/.search`, `POST /Groups/.search`.
pub(crate) async fn search(
    kind: ResourceKind,
    State(state): State<ScimState>,
    request: Request,
) -> Result<Response, Refusal> {
    let query = query_of(&body(request).await?)?;
    Ok(answer::list(&state.provisioning.list(&[kind], &query).await?))
}

/// `POST /.search`.
pub(crate) async fn search_all(State(state): State<ScimState>, request: Request) -> Result<Response, Refusal> {
    let query = query_of(&body(request).await?)?;
    Ok(answer::list(&state.provisioning.list(&[ResourceKind::User, ResourceKind::Group], &query).await?))
}

/// `POST /Users`, `POST /Groups`.
pub(crate) async fn create(kind: ResourceKind, State(state): State<ScimState>, request: Request) -> Response {
    changing(async move {
        let shown = Asked::of(&request).shown()?;
        let body = body(request).await?;
        Ok(answer::resource(201, &state.provisioning.create(kind, &body, &shown).await?))
    })
    .await
}

/// `GET /Users/{id}`, `GET /Groups/{id}`.
pub(crate) async fn show(
    kind: ResourceKind,
    State(state): State<ScimState>,
    axum::extract::Path(id): Path,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(&request);
    let resource = state.provisioning.get(kind, &id, &asked.shown()?).await?;
    if asked.if_none_match().is_some_and(|known| resource.is_one_of(known)) {
        return Ok(answer::version(StatusCode::NOT_MODIFIED, &resource));
    }
    Ok(answer::resource(200, &resource))
}

/// `PUT /Users/{id}`, `PUT /Groups/{id}`.
pub(crate) async fn replace(
    kind: ResourceKind,
    State(state): State<ScimState>,
    axum::extract::Path(id): Path,
    request: Request,
) -> Response {
    changing(async move {
        let asked = Asked::of(&request);
        let (shown, body) = (asked.shown()?, body(request).await?);
        let resource = state.provisioning.replace(kind, &id, &body, asked.if_match(), &shown).await?;
        Ok(answer::resource(200, &resource))
    })
    .await
}

/// `PATCH /Users/{id}`, `PATCH /Groups/{id}`. A group is not sent back unless attributes are named: it may be large.
pub(crate) async fn patch(
    kind: ResourceKind,
    State(state): State<ScimState>,
    axum::extract::Path(id): Path,
    request: Request,
) -> Response {
    changing(async move {
        let asked = Asked::of(&request);
        let (shown, body) = (asked.shown()?, body(request).await?);
        let resource = state.provisioning.patch(kind, &id, &body, asked.if_match(), &shown).await?;
        if kind == ResourceKind::Group && !shown.is_chosen() {
            return Ok(answer::version(StatusCode::NO_CONTENT, &resource));
        }
        Ok(answer::resource(200, &resource))
    })
    .await
}

/// `DELETE /Users/{id}`, `DELETE /Groups/{id}`.
pub(crate) async fn delete(
    kind: ResourceKind,
    State(state): State<ScimState>,
    axum::extract::Path(id): Path,
    request: Request,
) -> Response {
    changing(async move {
        state.provisioning.delete(kind, &id, Asked::of(&request).if_match()).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
