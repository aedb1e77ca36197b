//! `/_matrix/client/v3/pushrules/` (client-server API, section "Push Rules").

use axum::{Json, extract::State};
use http::Method;
use ruma::api::client::push::{
    delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_all,
    get_pushrules_global_scope, set_pushrule, set_pushrule_actions, set_pushrule_enabled,
};
use ruma::push::{AnyPushRule, RuleKind};
use serde_json::{Value, json};
use wardroom_accounts::{AccountError, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_pushrules_all)
        .endpoint(get_pushrules_global_scope)
        .endpoint(get_pushrule)
        .endpoint(set_pushrule)
        .endpoint(delete_pushrule)
        .endpoint(get_pushrule_actions)
        .endpoint(set_pushrule_actions)
        .endpoint(get_pushrule_enabled)
        .endpoint(set_pushrule_enabled)
        .endpoint(get_pushrules_of_kind)
        .merge(misspelt())
}

/// What no path of the specification says, below `/pushrules/`: an unknown scope, a part that is missing or that a rule
/// does not have. Such a request means push rules, so it is told what is wrong with its path.
fn misspelt() -> Routes<ClientState> {
    let mut routes = Routes::new();
    for base in ["/_matrix/client/r0/pushrules/", "/_matrix/client/v3/pushrules/"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            routes = routes.plain(method, &format!("{base}{{*path}}"), no_such_path);
        }
        // These answer to GET.
        for whole in ["", "global/", "global/{kind}/"] {
            routes = routes.plain(Method::PUT, &format!("{base}{whole}"), no_such_path);
        }
    }
    routes
}

async fn no_such_path() -> ApiError {
    ApiError::invalid_param(
        "path: push rules are at global/{kind}/{ruleId}, or at its enabled or actions, and kind must be override, \
         content, room, sender or underride.",
    )
}

/// The rules of one kind: no specification lists this path, but servers have it, and scripts rely on it.
mod of_kind {
    use ruma::{
        api::{
            IncomingRequest,
            auth_scheme::AccessToken,
            client::push::get_pushrules_all::v3::Response,
            error::{DeserializationError, Error as MatrixError},
            metadata,
        },
        push::RuleKind,
    };

    metadata! {
        method: GET,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_matrix/client/v3/pushrules/global/{kind}/",
    }

    #[derive(Debug)]
    pub(super) struct Request(pub(super) RuleKind);

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(_: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
            Ok(Self(RuleKind::from(path.first().copied().unwrap_or_default())))
        }
    }
}

async fn get_pushrules_of_kind(
    State(state): State<ClientState>,
    request: Ruma<of_kind::Request>,
) -> Result<Json<Value>, ApiError> {
    let rules = state.accounts.push_rules(request.session.nid).await?;
    let rules = match request.body.0 {
        RuleKind::Override => json!(rules.override_),
        RuleKind::Content => json!(rules.content),
        RuleKind::Room => json!(rules.room),
        RuleKind::Sender => json!(rules.sender),
        RuleKind::Underride => json!(rules.underride),
        _ => return Err(ApiError::invalid_param("kind: must be override, content, room, sender or underride.")),
    };
    Ok(Json(rules))
}

async fn rule(state: &ClientState, session: &Session, kind: RuleKind, rule_id: &str) -> Result<AnyPushRule, ApiError> {
    let rule = state.accounts.push_rule(session.nid, kind, rule_id).await?;
    Ok(rule.ok_or(AccountError::UnknownPushRule)?)
}

async fn get_pushrules_all(
    State(state): State<ClientState>,
    request: Ruma<get_pushrules_all::v3::Request>,
) -> Result<Reply<get_pushrules_all::v3::Response>, ApiError> {
    let rules = state.accounts.push_rules(request.session.nid).await?;
    Ok(Reply(get_pushrules_all::v3::Response::new((*rules).clone())))
}

async fn get_pushrules_global_scope(
    State(state): State<ClientState>,
    request: Ruma<get_pushrules_global_scope::v3::Request>,
) -> Result<Reply<get_pushrules_global_scope::v3::Response>, ApiError> {
    let rules = state.accounts.push_rules(request.session.nid).await?;
    Ok(Reply(get_pushrules_global_scope::v3::Response::new((*rules).clone())))
}

async fn get_pushrule(
    State(state): State<ClientState>,
    request: Ruma<get_pushrule::v3::Request>,
) -> Result<Reply<get_pushrule::v3::Response>, ApiError> {
    let rule = rule(&state, &request.session, request.body.kind, &request.body.rule_id).await?;
    Ok(Reply(get_pushrule::v3::Response::new(rule.into())))
}

async fn set_pushrule(
    State(state): State<ClientState>,
    request: Ruma<set_pushrule::v3::Request>,
) -> Result<Reply<set_pushrule::v3::Response>, ApiError> {
    state.limits.take(Class::Account, request.session.nid)?;
    let set_pushrule::v3::Request { rule, before, after, .. } = request.body;
    state.accounts.set_push_rule(&request.session.user, rule, after.as_deref(), before.as_deref()).await?;
    Ok(Reply(set_pushrule::v3::Response::new()))
}

async fn delete_pushrule(
    State(state): State<ClientState>,
    request: Ruma<delete_pushrule::v3::Request>,
) -> Result<Reply<delete_pushrule::v3::Response>, ApiError> {
    state.limits.take(Class::Account, request.session.nid)?;
    let delete_pushrule::v3::Request { kind, rule_id, .. } = request.body;
    state.accounts.delete_push_rule(&request.session.user, kind, &rule_id).await?;
    Ok(Reply(delete_pushrule::v3::Response::new()))
}

async fn get_pushrule_actions(
    State(state): State<ClientState>,
    request: Ruma<get_pushrule_actions::v3::Request>,
) -> Result<Reply<get_pushrule_actions::v3::Response>, ApiError> {
    let rule = rule(&state, &request.session, request.body.kind, &request.body.rule_id).await?;
    Ok(Reply(get_pushrule_actions::v3::Response::new(rule.actions().to_vec())))
}

async fn set_pushrule_actions(
    State(state): State<ClientState>,
    request: Ruma<set_pushrule_actions::v3::Request>,
) -> Result<Reply<set_pushrule_actions::v3::Response>, ApiError> {
    state.limits.take(Class::Account, request.session.nid)?;
    let set_pushrule_actions::v3::Request { kind, rule_id, actions, .. } = request.body;
    state.accounts.set_push_rule_actions(&request.session.user, kind, &rule_id, actions).await?;
    Ok(Reply(set_pushrule_actions::v3::Response::new()))
}

async fn get_pushrule_enabled(
    State(state): State<ClientState>,
    request: Ruma<get_pushrule_enabled::v3::Request>,
) -> Result<Reply<get_pushrule_enabled::v3::Response>, ApiError> {
    let rule = rule(&state, &request.session, request.body.kind, &request.body.rule_id).await?;
    Ok(Reply(get_pushrule_enabled::v3::Response::new(rule.enabled())))
}

async fn set_pushrule_enabled(
    State(state): State<ClientState>,
    request: Ruma<set_pushrule_enabled::v3::Request>,
) -> Result<Reply<set_pushrule_enabled::v3::Response>, ApiError> {
    state.limits.take(Class::Account, request.session.nid)?;
    let set_pushrule_enabled::v3::Request { kind, rule_id, enabled, .. } = request.body;
    state.accounts.set_push_rule_enabled(&request.session.user, kind, &rule_id, enabled).await?;
    Ok(Reply(set_pushrule_enabled::v3::Response::new()))
}
