//! A server without a socket, and its users.

use std::sync::Arc;

use axum::{Router, body::Body, body::to_bytes};
use http::{Request, header::AUTHORIZATION};
use ruma::{owned_server_name, owned_user_id, room_version_id};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wardroom_accounts::{Accounts, LoginRequest, NewUser, PasswordCost};
use wardroom_audit::AuditLog;
use wardroom_care::{Attestations, Care, Judge};
use wardroom_client_api::{ClientSettings, ClientState, router};
use wardroom_clock::{ManualClock, SharedClock};
use wardroom_event::SigningKey;
use wardroom_push::Push;
use wardroom_rooms::{Rooms, Settings, StandardGate};
use wardroom_store::{Catalogue, Store};
use wardroom_sync::Syncer;
use wardroom_web::{RateLimits, shell};

const ANSWER_BYTES_MAX: usize = 10_000_000;

pub(crate) struct World {
    accounts: Accounts,
    server: Server,
}

#[derive(Clone)]
struct Server {
    router: Router,
    clock: Arc<ManualClock>,
}

pub(crate) struct User {
    pub(crate) id: String,
    token: String,
    server: Server,
}

/// Status and body of an answer.
pub(crate) type Answer = (u16, Value);

impl World {
    pub(crate) async fn new() -> Self {
        let server_name = owned_server_name!("a.example");
        let catalogue = Catalogue::new(&[
            wardroom_accounts::TABLES,
            wardroom_rooms::TABLES,
            wardroom_push::TABLES,
            wardroom_care::TABLES,
        ])
        .unwrap();
        let store = Store::in_memory(catalogue);
        let manual = Arc::new(ManualClock::new(1_700_000_000_000));
        let clock: SharedClock = manual.clone();
        let mut settings = wardroom_accounts::Settings::new(server_name.clone());
        settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
        settings.registration.guests = true;
        let accounts = Accounts::new(store.clone(), Arc::clone(&clock), AuditLog::silent(), settings).await.unwrap();
        let settings = Settings {
            server_name: server_name.clone(),
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention: wardroom_rooms::RetentionSettings::default(),
        };
        let rooms = Rooms::new(store.clone(), Arc::clone(&clock), Arc::new(StandardGate), AuditLog::silent(), settings);
        let access = wardroom_care::Settings {
            service_user: owned_user_id!("@_access:a.example"),
            display_name: "Access".to_owned(),
            recheck_ms: 60_000,
            removal_percent_max: 100,
            attest_to: Vec::new(),
        };
        let judge =
            Judge::load(&store, Arc::clone(&clock), AuditLog::silent(), access.service_user.clone()).await.unwrap();
        let attestations = Attestations::new(store.clone(), Arc::clone(&clock), judge.clone(), Vec::new());
        let services = (rooms.clone(), accounts.clone());
        let care =
            Care::new(store.clone(), Arc::clone(&clock), services, (judge, attestations), AuditLog::silent(), access);
        let sync = Syncer::new(store.clone(), rooms.clone(), accounts.clone(), Arc::clone(&clock));
        let state = ClientState {
            audit: AuditLog::silent(),
            federation: None,
            sso: None,
            care,
            accounts: accounts.clone(),
            push: Push::new(
                store,
                sync.unread().clone(),
                Arc::clone(&clock),
                AuditLog::silent(),
                wardroom_push::Settings::default(),
            )
            .unwrap(),
            sync,
            rooms,
            limits: Arc::new(RateLimits::new(Arc::clone(&clock), false)),
            settings: Arc::new(ClientSettings::new(server_name, "http://a.example".to_owned())),
            clock,
            stopping: CancellationToken::new(),
        };
        let router = shell(router(state), Arc::default());
        Self { accounts, server: Server { router, clock: manual } }
    }

    pub(crate) async fn user(&self, name: &str) -> User {
        let user = self.accounts.create_user(name, None, false).await.unwrap();
        let request = LoginRequest { device_id: None, display_name: None, refresh: false };
        let login = self.accounts.login_as(&user.id, &request).await.unwrap();
        User { id: user.id.to_string(), token: login.access_token, server: self.server.clone() }
    }

    pub(crate) async fn guest(&self) -> User {
        let request = LoginRequest { device_id: None, display_name: None, refresh: false };
        let guest = self.accounts.register(NewUser::guest(), Some(&request)).await.unwrap();
        let login = guest.login.unwrap();
        User { id: guest.user.id.to_string(), token: login.access_token, server: self.server.clone() }
    }

    /// A request without a token.
    pub(crate) async fn anonymous(&self, method: &str, path: &str) -> Answer {
        self.server.answer(Request::builder().method(method).uri(uri(path)).body(Body::empty()).unwrap()).await
    }
}

impl User {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, "").await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.raw("PUT", path, &body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.raw("POST", path, &body.to_string()).await
    }

    /// A request with this body as it is.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(uri(path));
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        self.server.answer(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Makes a room and returns its id.
    pub(crate) async fn room(&self, body: Value) -> String {
        let (status, answer) = self.post("createRoom", body).await;
        assert_eq!(status, 200, "{answer}");
        answer["room_id"].as_str().unwrap().to_owned()
    }

    /// Sends a text message and returns the event's id.
    pub(crate) async fn say(&self, room: &str, txn: &str, text: &str) -> String {
        let path = format!("rooms/{room}/send/m.room.message/{txn}");
        let (status, answer) = self.put(&path, json!({"msgtype": "m.text", "body": text})).await;
        assert_eq!(status, 200, "{answer}");
        answer["event_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn join(&self, room: &str) {
        let (status, answer) = self.post(&format!("join/{room}"), json!({})).await;
        assert_eq!((status, answer), (200, json!({"room_id": room})));
    }
}

/// Asserts status and code of an error, and that its sentence has `named` in it.
#[track_caller]
pub(crate) fn refused((status, body): Answer, wanted: u16, errcode: &str, named: &str) {
    assert_eq!((status, body["errcode"].as_str()), (wanted, Some(errcode)), "{body}");
    assert!(body["error"].as_str().unwrap().contains(named), "{body} does not name {named}");
}

fn uri(path: &str) -> String {
    let path = path.replace('#', "%23").replace('$', "%24").replace(' ', "%20").replace('{', "%7B").replace('"', "%22");
    format!("/_matrix/client/v3/{path}")
}

impl Server {
    /// Answers a request, a millisecond after the one before.
    async fn answer(&self, request: Request<Body>) -> Answer {
        self.clock.advance_ms(1);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}
