//! `/_synapse/admin/v1/federation/destinations` and below: the servers to which something was sent, and how that fares.
//! Shapes and paths are Synapse's, for the tools that exist.
//!
//! Of what is sent, `stream_ordering` is the position in the log.

use axum::extract::State;
use http::{Method, StatusCode};
use ruma::{
    OwnedRoomId, OwnedServerName,
    api::{
        IncomingRequest, OutgoingBodyJson, OutgoingResponse,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error as MatrixError, ErrorKind, IntoHttpError},
        metadata,
    },
};
use serde::Serialize;
use wardroom_accounts::{AdminScope, Session};
use wardroom_federation::{DestinationOrder, DestinationQuery, DestinationView, Outbox};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::{
    AdminState,
    calls::Call,
    endpoint::{Endpoints, described},
};

/// Entries in one answer where the request does not say how many.
const PAGE_DEFAULT: usize = 100;
/// Entries in one answer at most.
const PAGE_MAX: usize = 1_000;

const LIST: &str = "/_synapse/admin/v1/federation/destinations";
const ONE: &str = "/_synapse/admin/v1/federation/destinations/{destination}";
const ROOMS: &str = "/_synapse/admin/v1/federation/destinations/{destination}/rooms";
const RESET: &str = "/_synapse/admin/v1/federation/destinations/{destination}/reset_connection";

pub(crate) fn endpoints() -> Endpoints {
    let get = |path, summary| described(Method::GET, path, AdminScope::Operation, summary);
    Endpoints::new().with(
        Routes::new().endpoint(list).endpoint(one).endpoint(rooms).endpoint(reset),
        vec![
            get(LIST, "Lists servers to which something was sent."),
            get(ONE, "Tells how sending to one server fares."),
            get(ROOMS, "Lists the rooms of which something was sent to a server."),
            described(Method::POST, RESET, AdminScope::Operation, "Tries a server again at once."),
        ],
    )
}

/// A JSON answer.
macro_rules! answers {
    ($($name:ty),*) => {$(
        impl OutgoingResponse for $name {
            type Body = Self;

            fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
                Ok(http::Response::new(self))
            }
        }
    )*};
}

answers!(Destinations, Destination, Rooms, Nothing);

#[derive(Serialize, OutgoingBodyJson)]
struct Destinations {
    destinations: Vec<Destination>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize, OutgoingBodyJson)]
struct Destination {
    destination: OwnedServerName,
    retry_last_ts: u64,
    retry_interval: u64,
    failure_ts: Option<u64>,
    last_successful_stream_ordering: Option<u64>,
}

impl From<DestinationView> for Destination {
    fn from(view: DestinationView) -> Self {
        Self {
            destination: view.server,
            retry_last_ts: view.retry_last_ts,
            retry_interval: view.retry_interval_ms,
            failure_ts: view.failure_ts,
            last_successful_stream_ordering: view.last_position,
        }
    }
}

#[derive(Serialize, OutgoingBodyJson)]
struct Rooms {
    rooms: Vec<Room>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
struct Room {
    room_id: OwnedRoomId,
    stream_ordering: u64,
}

#[derive(Serialize, OutgoingBodyJson)]
struct Nothing {}

/// What a request says in its query.
#[derive(Debug, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &http::Request<&[u8]>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &'static str, default: usize) -> Result<usize, ApiError> {
        let Some(digits) = self.get(name) else { return Ok(default) };
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        number.ok_or_else(|| ApiError::invalid_param(format!("{name}: not a number from 0 on")))
    }

    /// How many to leave out, and how many to show.
    fn page(&self) -> Result<(usize, usize), ApiError> {
        Ok((self.number("from", 0)?, self.number("limit", PAGE_DEFAULT)?.min(PAGE_MAX)))
    }

    fn is_backwards(&self) -> Result<bool, ApiError> {
        match self.get("dir") {
            None | Some("f") => Ok(false),
            Some("b") => Ok(true),
            Some(_) => Err(ApiError::invalid_param("dir: neither f nor b")),
        }
    }

    fn order(&self) -> Result<DestinationOrder, ApiError> {
        match self.get("order_by") {
            None | Some("destination") => Ok(DestinationOrder::Server),
            Some("retry_last_ts") => Ok(DestinationOrder::RetryLast),
            Some("retry_interval") => Ok(DestinationOrder::RetryInterval),
            Some("failure_ts") => Ok(DestinationOrder::Failure),
            Some("last_successful_stream_ordering") => Ok(DestinationOrder::LastPosition),
            Some(_) => Err(ApiError::invalid_param("order_by: destinations cannot be ordered by this")),
        }
    }
}

/// Where the next page begins, if there is one.
fn next_token(from: usize, shown: usize, total: usize) -> Option<String> {
    let next = from.saturating_add(shown);
    (shown > 0 && next < total).then(|| next.to_string())
}

/// What a request is about.
#[derive(Debug)]
struct About {
    /// The server, where the path has one.
    server: String,
    query: Query,
}

impl About {
    fn of(request: &http::Request<&[u8]>, path_args: &[&str]) -> Self {
        let server = path_args.first().copied().unwrap_or_default().to_owned();
        Self { server, query: Query::of(request) }
    }
}

/// A request without a body.
macro_rules! about {
    ($name:ident, $method:ident, $path:literal, $answer:ident) => {
        mod $name {
            use super::{About, AccessToken, DeserializationError, IncomingRequest, MatrixError, metadata};

            metadata! {
                method: $method,
                rate_limited: false,
                authentication: AccessToken,
                path: $path,
            }

            #[derive(Debug)]
            pub(super) struct Request(pub(super) About);

            impl IncomingRequest for Request {
                type EndpointError = MatrixError;
                type OutgoingResponse = super::$answer;

                fn try_from_http_request_inner(
                    request: http::Request<&[u8]>,
                    path_args: &[&str],
                ) -> Result<Self, DeserializationError> {
                    Ok(Self(About::of(&request, path_args)))
                }
            }
        }
    };
}

about!(listing, GET, "/_synapse/admin/v1/federation/destinations", Destinations);
about!(showing, GET, "/_synapse/admin/v1/federation/destinations/{destination}", Destination);
about!(showing_rooms, GET, "/_synapse/admin/v1/federation/destinations/{destination}/rooms", Rooms);
about!(resetting, POST, "/_synapse/admin/v1/federation/destinations/{destination}/reset_connection", Nothing);

async fn list(
    State(state): State<AdminState>,
    Ruma { body: listing::Request(request), session, .. }: Ruma<listing::Request>,
) -> Result<Reply<Destinations>, ApiError> {
    let call = Call::new(Method::GET, LIST, []);
    called(&state, &session, call, async |outbox| listed(outbox, &request.query).await).await
}

async fn listed(outbox: &Outbox, query: &Query) -> Result<Reply<Destinations>, ApiError> {
    let (from, limit) = query.page()?;
    let query = DestinationQuery {
        name_part: query.get("destination").filter(|part| !part.is_empty()).map(str::to_owned),
        order: query.order()?,
        backwards: query.is_backwards()?,
        from,
        limit,
    };
    let found = outbox.destinations(&query).await.map_err(|error| ApiError::internal(&error))?;
    let next_token = next_token(from, found.page.len(), found.total);
    let destinations = found.page.into_iter().map(Destination::from).collect();
    Ok(Reply(Destinations { destinations, total: found.total, next_token }))
}

async fn one(
    State(state): State<AdminState>,
    Ruma { body: showing::Request(request), session, .. }: Ruma<showing::Request>,
) -> Result<Reply<Destination>, ApiError> {
    let call = Call::new(Method::GET, ONE, [request.server.as_str()]);
    called(&state, &session, call, async |outbox| shown(outbox, &request).await).await
}

async fn shown(outbox: &Outbox, request: &About) -> Result<Reply<Destination>, ApiError> {
    let server = server(&request.server)?;
    let found = outbox.destination(&server).await.map_err(|error| ApiError::internal(&error))?;
    found.map(|view| Reply(view.into())).ok_or_else(unknown)
}

async fn rooms(
    State(state): State<AdminState>,
    Ruma { body: showing_rooms::Request(request), session, .. }: Ruma<showing_rooms::Request>,
) -> Result<Reply<Rooms>, ApiError> {
    let call = Call::new(Method::GET, ROOMS, [request.server.as_str()]);
    called(&state, &session, call, async |outbox| rooms_of(outbox, &request).await).await
}

async fn rooms_of(outbox: &Outbox, request: &About) -> Result<Reply<Rooms>, ApiError> {
    let server = server(&request.server)?;
    let (from, limit) = request.query.page()?;
    let found = outbox.destination_rooms(&server, request.query.is_backwards()?, from, limit).await;
    let found = found.map_err(|error| ApiError::internal(&error))?.ok_or_else(unknown)?;
    let next_token = next_token(from, found.page.len(), found.total);
    let rooms = found.page.into_iter().map(|room| Room { room_id: room.room, stream_ordering: room.last_position });
    Ok(Reply(Rooms { rooms: rooms.collect(), total: found.total, next_token }))
}

async fn reset(
    State(state): State<AdminState>,
    Ruma { body: resetting::Request(request), session, .. }: Ruma<resetting::Request>,
) -> Result<Reply<Nothing>, ApiError> {
    let call = Call::new(Method::POST, RESET, [request.server.as_str()]);
    called(&state, &session, call, async |outbox| reset_now(outbox, &request).await).await
}

async fn reset_now(outbox: &Outbox, request: &About) -> Result<Reply<Nothing>, ApiError> {
    let server = server(&request.server)?;
    match outbox.reset(&server).await.map_err(|error| ApiError::internal(&error))? {
        Some(true) => Ok(Reply(Nothing {})),
        Some(false) => {
            let sentence = "The server is not left alone: there is nothing to reset.";
            Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence))
        }
        None => Err(unknown()),
    }
}

async fn called<F, R>(state: &AdminState, session: &Session, call: Call<'_>, work: F) -> Result<R, ApiError>
where
    F: AsyncFnOnce(&Outbox) -> Result<R, ApiError>,
{
    let work = |_| async {
        let federation = state.federation.as_ref();
        work(&federation.ok_or_else(|| ApiError::not_found("This server does not speak to others."))?.outbox).await
    };
    call.carried_out(state, session, AdminScope::Operation, work).await
}

fn server(name: &str) -> Result<OwnedServerName, ApiError> {
    name.try_into().map_err(|_| ApiError::invalid_param("destination: not the name of a server"))
}

fn unknown() -> ApiError {
    ApiError::not_found("destination: nothing was ever sent to this server")
}

#[cfg(test)]
mod tests {
    use super::{Query, next_token};

    fn query(text: &str) -> Query {
        let uri = format!("https://a.example/x?{text}");
        Query::of(&http::Request::builder().uri(uri).body(&b""[..]).unwrap())
    }

    #[test]
    fn queries_are_read() {
        let given = query("from=3&limit=5000&dir=b&order_by=failure_ts&destination=a%20b");
        assert_eq!(given.page().unwrap(), (3, super::PAGE_MAX));
        assert!(given.is_backwards().unwrap());
        assert_eq!(given.get("destination"), Some("a b"));
        let none = query("");
        assert_eq!(none.page().unwrap(), (0, super::PAGE_DEFAULT));
        assert!(!none.is_backwards().unwrap());
        for wrong in ["from=-1", "limit=x", "limit=", "from=%2B1", "from=99999999999999999999999"] {
            assert!(query(wrong).page().is_err(), "{wrong}");
        }
        assert!(query("dir=up").is_backwards().is_err());
        assert!(query("order_by=name").order().is_err());
    }

    #[test]
    fn pages_lead_to_the_next() {
        assert_eq!(next_token(0, 100, 250).as_deref(), Some("100"));
        assert_eq!(next_token(200, 50, 250), None);
        assert_eq!(next_token(usize::MAX, 0, 250), None);
    }
}
