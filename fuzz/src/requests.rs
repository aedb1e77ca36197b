//! Requests, up to where a handler would take over: paths, queries and bodies, and what is said of those that are wrong.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
};
use http::{Request, header::AUTHORIZATION};
use ruma::{
    api::{
        IncomingRequest,
        client::{
            account::register, backup::add_backup_keys, filter::create_filter, keys::upload_keys,
            membership::invite_user, message::get_message_events, push::set_pushrule, room::create_room,
            search::search_events, session::login, state::send_state_event, sync::sync_events,
            to_device::send_event_to_device,
        },
    },
    server_name,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use wardroom_accounts::{Accounts, LoginRequest, NewUser, Settings, TABLES};
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_store::{Catalogue, Store};
use wardroom_web::{ApiError, ApiState, Demand, RateLimits, Route, Routes, Ruma, shell};

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1_000_000;

#[derive(Clone)]
struct Services {
    accounts: Accounts,
    limits: Arc<RateLimits>,
}

impl ApiState for Services {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

/// A server whose handlers do nothing.
struct Server {
    runtime: Runtime,
    router: Router,
    listed: Vec<Route>,
    token: String,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (router, listed, token) = runtime.block_on(async {
            let store = Store::in_memory(Catalogue::new(&[TABLES]).expect("a catalogue"));
            let clock: SharedClock = Arc::new(SystemClock);
            let settings = Settings::new(server_name!("x.example").to_owned());
            let accounts = Accounts::new(store, Arc::clone(&clock), settings).await.expect("accounts");
            let registered = accounts.register(NewUser::named("alice"), Some(&LoginRequest::default())).await;
            let login = registered.expect("a user").login.expect("a session");
            let routes = routes();
            let listed = routes.listed().to_vec();
            let state = Services { accounts, limits: Arc::new(RateLimits::new(clock, false)) };
            (shell(routes.into_router(state), Arc::default()), listed, login.access_token)
        });
        Self { runtime, router, listed, token }
    }
}

fn routes() -> Routes<Services> {
    Routes::new()
        .endpoint(taken::<login::v3::Request>)
        .endpoint(taken::<register::v3::Request>)
        .endpoint(taken::<create_filter::v3::Request>)
        .endpoint(taken::<create_room::v3::Request>)
        .endpoint(taken::<invite_user::v3::Request>)
        .endpoint(taken::<send_state_event::v3::Request>)
        .endpoint(taken::<get_message_events::v3::Request>)
        .endpoint(taken::<search_events::v3::Request>)
        .endpoint(taken::<set_pushrule::v3::Request>)
        .endpoint(taken::<sync_events::v3::Request>)
        .endpoint(taken::<upload_keys::v3::Request>)
        .endpoint(taken::<send_event_to_device::v3::Request>)
        .endpoint(taken::<add_backup_keys::v3::Request>)
}

async fn taken<T>(State(_services): State<Services>, _request: Ruma<T>) -> Result<&'static str, ApiError>
where
    T: IncomingRequest,
    T::Authentication: Demand,
{
    Ok("{}")
}

/// The first byte chooses the endpoint; then parts end with a zero byte: the variables of the path, the query; what is
/// left is the body. Every answer is JSON, and none a failure of the server.
pub fn request(data: &[u8]) {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    let Some((choice, rest)) = data.split_first() else { return };
    let server = SERVER.get_or_init(|| Mutex::new(Server::new())).lock().expect("no panic before");
    let route = &server.listed[usize::from(*choice) % server.listed.len()];
    let mut parts = rest.splitn(route.path.matches('{').count() + 2, |byte| *byte == 0);
    let mut uri = String::new();
    for segment in route.path.split('/').skip(1) {
        uri.push('/');
        match segment.starts_with('{') {
            true => escape(&mut uri, parts.next().unwrap_or_default(), false),
            false => uri.push_str(segment),
        }
    }
    uri.push('?');
    escape(&mut uri, parts.next().unwrap_or_default(), true);
    let request = Request::builder().method(route.method.clone()).uri(uri);
    let request = request.header(AUTHORIZATION, format!("Bearer {}", server.token));
    let Ok(request) = request.body(Body::from(parts.next().unwrap_or_default().to_vec())) else { return };
    let router = server.router.clone();
    let (status, bytes) = server.runtime.block_on(async {
        let Ok(answer) = router.oneshot(request).await;
        let (parts, body) = answer.into_parts();
        (parts.status, to_bytes(body, ANSWER_BYTES_MAX).await.expect("a whole answer"))
    });
    assert!(!status.is_server_error(), "{status}");
    let answer: Value = serde_json::from_slice(&bytes).expect("an answer in JSON");
    assert!(status.is_success() || answer["errcode"].is_string(), "{status} {answer}");
}

/// Percent-encodes what may not stand in a path; in a query, separators and percent signs stay.
fn escape(uri: &mut String, bytes: &[u8], query: bool) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(*byte)),
            b'&' | b'=' | b'%' | b'+' | b'[' | b']' if query => uri.push(char::from(*byte)),
            _ => write!(uri, "%{byte:02X}").expect("writing to a text"),
        }
    }
}
