//! A few endpoints over accounts in memory.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, body::to_bytes, extract::State};
use http::{Method, Request, header::AUTHORIZATION};
use ruma::{
    api::client::{
        account::{change_password, whoami},
        filter::create_filter,
        membership::invite_user,
        message::get_message_events,
        room::create_room,
        session::login,
        state::get_state_event_for_key,
    },
    server_name,
};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use wardroom_accounts::{Accounts, LoginRequest, NewUser, PasswordCost, Settings, TABLES};
use wardroom_audit::AuditLog;
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_store::{Catalogue, Store};
use wardroom_web::{ApiError, ApiState, RateLimits, Reply, RequestMetrics, Routes, Ruma, shell};

#[derive(Clone)]
pub(crate) struct TestState {
    accounts: Accounts,
    limits: Arc<RateLimits>,
    /// Counts handlers of room creation that ran to their end.
    pub(crate) created: Arc<Semaphore>,
}

impl ApiState for TestState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) state: TestState,
    pub(crate) metrics: Arc<RequestMetrics>,
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status, errcode and sentence.
    pub(crate) fn error(&self) -> (u16, String, String) {
        assert_eq!(self.headers[http::header::CONTENT_TYPE], "application/json");
        let json = self.json();
        (self.status, json["errcode"].as_str().unwrap().to_owned(), json["error"].as_str().unwrap().to_owned())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let clock: SharedClock = Arc::new(SystemClock);
        let mut settings = Settings::new(server_name!("a.example").to_owned());
        settings.registration.guests = true;
        settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
        let accounts = Accounts::new(store, Arc::clone(&clock), AuditLog::silent(), settings).await.unwrap();
        let new = NewUser { password: Some("secret"), ..NewUser::named("alice") };
        let registered = accounts.register(new, Some(&LoginRequest::default())).await.unwrap();
        let token = registered.login.unwrap().access_token;
        let limits = Arc::new(RateLimits::new(clock, true));
        let state = TestState { accounts, limits, created: Arc::new(Semaphore::new(0)) };
        let metrics = Arc::new(RequestMetrics::default());
        let router = shell(routes().into_router(state.clone()), Arc::clone(&metrics));
        Self { router, state, metrics, token }
    }

    /// The token of a new guest.
    pub(crate) async fn guest(&self) -> String {
        let registered = self.state.accounts.register(NewUser::guest(), Some(&LoginRequest::default())).await;
        registered.unwrap().login.unwrap().access_token
    }

    /// A request with the user's token.
    pub(crate) async fn ask(&self, method: Method, uri: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 1_000_000).await.unwrap().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

fn routes() -> Routes<TestState> {
    Routes::new()
        .endpoint(whoami)
        .endpoint(accepted::<login::v3::Request>)
        .endpoint(accepted::<invite_user::v3::Request>)
        .endpoint(accepted::<change_password::v3::Request>)
        .endpoint(accepted::<create_filter::v3::Request>)
        .endpoint(accepted::<get_message_events::v3::Request>)
        .endpoint(accepted::<get_state_event_for_key::v3::Request>)
        .endpoint_at(&["/_matrix/client/v3/rooms/{room_id}/state/{event_type}"], two_parts)
        .endpoint(create_room)
        .plain(Method::GET, "/panic", panics)
}

async fn whoami(
    State(_state): State<TestState>,
    request: Ruma<whoami::v3::Request>,
) -> Result<Reply<whoami::v3::Response>, ApiError> {
    Ok(Reply(whoami::v3::Response::new(request.session.user.clone(), false)))
}

/// Says that the request was read; these tests are about reading.
async fn accepted<T>(State(_state): State<TestState>, _request: Ruma<T>) -> Result<&'static str, ApiError>
where
    T: ruma::api::IncomingRequest,
    T::Authentication: wardroom_web::Demand,
{
    Ok("{}")
}

async fn two_parts(
    State(_state): State<TestState>,
    request: Ruma<get_state_event_for_key::v3::Request>,
) -> Result<String, ApiError> {
    Ok(format!("{}|{}", request.body.event_type, request.body.state_key))
}

/// Changes something, slowly.
async fn create_room(
    State(state): State<TestState>,
    _request: Ruma<create_room::v3::Request>,
) -> Result<&'static str, ApiError> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    state.created.add_permits(1);
    Ok("{}")
}

#[expect(clippy::panic, reason = "the test is about panics")]
async fn panics() -> &'static str {
    panic!("a secret");
}
