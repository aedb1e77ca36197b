//! How endpoints of administrators are served: each says in one line where it is, what it is for and which scope it
//! takes. Nobody gets to a handler without being an administrator who has the scope.

use std::{future::Future, marker::PhantomData};

use axum::{extract::State, response::IntoResponse};
use http::{Method, StatusCode};
use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    api::{
        IncomingRequest, Metadata,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error as MatrixError, ErrorKind},
        path_builder::SinglePath,
    },
};
use serde::de::DeserializeOwned;
use wardroom_accounts::{AdminScope, AdminScopes, Session, User};
use wardroom_rooms::{Actor, UserNid};
use wardroom_web::{ApiError, Routes, Ruma, Unwritten};

use crate::{AdminState, calls::Call};

/// Entries in one answer where the request does not say how many.
const PAGE_DEFAULT: usize = 100;
/// Entries in one answer at most.
const PAGE_MAX: usize = 1_000;

/// What is told of an endpoint.
#[derive(Clone, Debug)]
pub struct Described {
    /// Method.
    pub method: Method,
    /// Path pattern.
    pub path: &'static str,
    /// The scope that an administrator needs; none where no token is asked for.
    pub scope: Option<AdminScope>,
    /// What it is for, in a sentence.
    pub summary: &'static str,
}

/// Endpoints and what is told of them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    routes: Routes<AdminState>,
    described: Vec<Described>,
}

/// A request of an administrator who has the scope.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) session: Session,
    pub(crate) scopes: AdminScopes,
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request as it comes, before anybody looked at who asks.
#[derive(Debug)]
struct Plain<M> {
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Vec<u8>,
    method: PhantomData<fn() -> M>,
}

/// A method of HTTP.
trait Verb: 'static {
    const METHOD: Method;
}

macro_rules! verbs {
    ($($name:ident $method:ident $function:ident),*) => {
        $(#[derive(Debug)] struct $name; impl Verb for $name { const METHOD: Method = Method::$method; })*

        impl Endpoints {
            $(
                /// Serves this method of a path to administrators with this scope.
                #[must_use]
                pub(crate) fn $function<F, Fut, R>(
                    self,
                    path: &'static str,
                    scope: AdminScope,
                    summary: &'static str,
                    handler: F,
                ) -> Self
                where
                    F: Fn(AdminState, Asked) -> Fut + Clone + Send + Sync + 'static,
                    Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
                    R: IntoResponse + Send + 'static,
                {
                    self.serve::<$name, F, Fut, R>(path, scope, summary, handler)
                }
            )*
        }
    };
}

verbs!(Get GET get, Post POST post, Put PUT put, Delete DELETE delete);

impl<M: Verb> Metadata for Plain<M> {
    const METHOD: Method = M::METHOD;
    const RATE_LIMITED: bool = false;
    type Authentication = AccessToken;
    type PathBuilder = SinglePath;
    /// Each endpoint is served at a path of its own.
    const PATH_BUILDER: SinglePath = SinglePath::new("/_synapse/admin");
}

impl<M: Verb> IncomingRequest for Plain<M> {
    type EndpointError = MatrixError;
    type OutgoingResponse = Unwritten;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let query = request.uri().query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let path = path_args.iter().map(|part| (*part).to_owned()).collect();
        Ok(Self { path, query, body: request.into_body().to_vec(), method: PhantomData })
    }
}

impl Endpoints {
    pub(crate) fn new() -> Self {
        Self { routes: Routes::new(), described: Vec::new() }
    }

    fn serve<M, F, Fut, R>(mut self, path: &'static str, scope: AdminScope, summary: &'static str, handler: F) -> Self
    where
        M: Verb,
        F: Fn(AdminState, Asked) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
        R: IntoResponse + Send + 'static,
    {
        let pattern = path;
        let serve = move |State(state): State<AdminState>, request: Ruma<Plain<M>>| {
            let handler = handler.clone();
            async move {
                let Ruma { body: Plain { path, query, body, .. }, session, .. } = request;
                let parts = path.clone();
                let call = Call::new(M::METHOD, pattern, parts.iter().map(String::as_str));
                let (asking, caller) = (session.clone(), state.clone());
                let work = |scopes| handler(state, Asked { session, scopes, path, query, body });
                call.carried_out(&caller, &asking, scope, work).await
            }
        };
        self.routes = self.routes.endpoint_at(&[path], serve);
        self.described.push(Described { method: M::METHOD, path, scope: Some(scope), summary });
        self
    }

    /// Endpoints that are served in another way, each with what is told of it.
    #[must_use]
    pub(crate) fn with(mut self, routes: Routes<AdminState>, described: Vec<Described>) -> Self {
        self.routes = self.routes.merge(routes);
        self.described.extend(described);
        self
    }

    #[must_use]
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.routes = self.routes.merge(other.routes);
        self.described.extend(other.described);
        self
    }

    pub(crate) fn into_parts(self) -> (Routes<AdminState>, Vec<Described>) {
        (self.routes, self.described)
    }
}

/// What an endpoint that is served in another way is for.
pub(crate) const fn described(
    method: Method,
    path: &'static str,
    scope: AdminScope,
    summary: &'static str,
) -> Described {
    Described { method, path, scope: Some(scope), summary }
}

impl Asked {
    /// Who asks, as the room engine knows users.
    pub(crate) fn actor(&self) -> Actor<'_> {
        let Session { .. } = &self.session;
        Actor { user: &self.session.user, nid: self.nid(), device: None, guest: false }
    }

    /// The number of who asks.
    pub(crate) fn nid(&self) -> UserNid {
        UserNid::new(self.session.nid.get())
    }

    /// A part of the path.
    pub(crate) fn part(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    /// The user in the path, of any server.
    pub(crate) fn user_id(&self, index: usize) -> Result<OwnedUserId, ApiError> {
        UserId::parse(self.part(index)).map_err(|_| ApiError::invalid_param("user_id: this is no user id."))
    }

    /// The id of a user of this server in the path.
    pub(crate) fn local_id(&self, state: &AdminState, index: usize) -> Result<OwnedUserId, ApiError> {
        let user = self.user_id(index)?;
        if state.accounts.is_local(&user) {
            return Ok(user);
        }
        let sentence = "user_id: this is no user of this server.";
        Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidParam, sentence))
    }

    /// The user of this server in the path.
    pub(crate) async fn local_user(&self, state: &AdminState, index: usize) -> Result<User, ApiError> {
        let user = self.local_id(state, index)?;
        state.accounts.user(&user).await?.ok_or_else(no_such_user)
    }

    /// As [`Self::local_user`], for acts on an account: who may do less than its user does not act on it.
    pub(crate) async fn subject(&self, state: &AdminState, index: usize) -> Result<User, ApiError> {
        let user = self.local_user(state, index).await?;
        self.check_subject(state, &user).await?;
        Ok(user)
    }

    pub(crate) async fn check_subject(&self, state: &AdminState, user: &User) -> Result<(), ApiError> {
        let theirs = state.accounts.admin_scopes(user.nid).await?;
        if self.scopes.cover(theirs) || user.nid == self.session.nid {
            return Ok(());
        }
        Err(ApiError::forbidden("user_id: this administrator has scopes that you do not have."))
    }

    /// Refuses what only administrators may do who have every scope.
    pub(crate) fn unrestricted(&self) -> Result<(), ApiError> {
        if self.scopes.is_all() {
            return Ok(());
        }
        Err(ApiError::forbidden("Only administrators who have every scope may do this."))
    }

    /// The room in the path.
    pub(crate) fn room_id(&self, index: usize) -> Result<OwnedRoomId, ApiError> {
        let room = OwnedRoomId::try_from(self.part(index));
        room.map_err(|_| ApiError::invalid_param("room_id: this is no room id."))
    }

    /// The body; an empty one is `{}`.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| ApiError::bad_json(format!("The request body is wrong: {error}.")))
    }

    /// A parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameters, as they would be written in a URL.
    pub(crate) fn query_string(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish()
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that says something.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A number from 0 on.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let Some(digits) = self.get(name) else { return Ok(None) };
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let wrong = || ApiError::invalid_param(format!("{name}: not a number from 0 on"));
        number.map(Some).ok_or_else(wrong)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid_param(format!("{name}: neither true nor false"))),
        }
    }

    /// How many to leave out, and how many to show.
    pub(crate) fn page(&self) -> Result<(usize, usize), ApiError> {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let from = self.number("from")?.map_or(0, size);
        let limit = self.number("limit")?.map_or(PAGE_DEFAULT, size);
        Ok((from, limit.min(PAGE_MAX)))
    }

    /// Whether the order is to be the other way round.
    pub(crate) fn backwards(&self, default: bool) -> Result<bool, ApiError> {
        match self.get("dir") {
            None => Ok(default),
            Some("f") => Ok(false),
            Some("b") => Ok(true),
            Some(_) => Err(ApiError::invalid_param("dir: neither f nor b")),
        }
    }
}

/// Where the next page begins, if there is one.
pub(crate) fn next_place(from: usize, shown: usize, total: usize) -> Option<usize> {
    let next = from.saturating_add(shown);
    (shown > 0 && next < total).then_some(next)
}

pub(crate) fn no_such_user() -> ApiError {
    ApiError::not_found("There is no such user on this server.")
}

pub(crate) fn no_such_room() -> ApiError {
    ApiError::not_found("This server does not know that room.")
}

#[cfg(test)]
mod tests {
    use super::next_place;

    #[test]
    fn pages_lead_to_the_next() {
        assert_eq!(next_place(0, 100, 250), Some(100));
        assert_eq!(next_place(200, 50, 250), None);
        assert_eq!(next_place(usize::MAX, 0, 250), None);
    }
}
