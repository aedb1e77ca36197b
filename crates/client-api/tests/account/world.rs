//! A server without a socket, and clients of it.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
};
use http::{Request, header};
use ruma::{owned_server_name, owned_user_id, room_version_id};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wardroom_accounts::{Accounts, PasswordCost, Registration, Settings};
use wardroom_audit::AuditLog;
use wardroom_care::{Attestations, Care, Judge};
use wardroom_client_api::{ClientSettings, ClientState, router};
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_push::Push;
use wardroom_rooms::{Actor, MemberProfile, NewRoom, Preset, Rooms, StandardGate, StateWhich, UserNid};
use wardroom_store::{Catalogue, Store};
use wardroom_sync::Syncer;
use wardroom_web::{RateLimits, RequestMetrics, shell};

pub(crate) const SERVER: &str = "hospital-a.example";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) accounts: Accounts,
    pub(crate) rooms: Rooms,
    pub(crate) clock: Arc<ManualClock>,
    router: Router,
}

/// Somebody who is signed in.
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) token: String,
}

/// What came back: status and body.
pub(crate) type Answer = (u16, Value);

pub(crate) async fn world() -> World {
    world_with(Registration { open: true, ..Registration::default() }, false).await
}

pub(crate) async fn world_with(registration: Registration, rate_limits: bool) -> World {
    let tables = [wardroom_accounts::TABLES, wardroom_rooms::TABLES, wardroom_push::TABLES, wardroom_care::TABLES];
    let store = Store::in_memory(Catalogue::new(&tables).unwrap());
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let mut settings = Settings::new(owned_server_name!("hospital-a.example"));
    settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
    settings.registration = registration;
    let accounts = Accounts::new(store.clone(), clock.clone(), AuditLog::silent(), settings).await.unwrap();
    let settings = wardroom_rooms::Settings {
        server_name: owned_server_name!("hospital-a.example"),
        default_version: room_version_id!("12"),
        signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
        holds: Default::default(),
        retention: wardroom_rooms::RetentionSettings::default(),
    };
    let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), AuditLog::silent(), settings);
    let access = wardroom_care::Settings {
        service_user: owned_user_id!("@_access:hospital-a.example"),
        display_name: "Access".to_owned(),
        recheck_ms: 60_000,
        removal_percent_max: 100,
        attest_to: Vec::new(),
    };
    let judge = Judge::load(&store, clock.clone(), AuditLog::silent(), access.service_user.clone()).await.unwrap();
    let attestations = Attestations::new(store.clone(), clock.clone(), judge.clone(), Vec::new());
    let services = (rooms.clone(), accounts.clone());
    let care = Care::new(store.clone(), clock.clone(), services, (judge, attestations), AuditLog::silent(), access);
    let sync = Syncer::new(store.clone(), rooms.clone(), accounts.clone(), clock.clone());
    let state = ClientState {
        audit: AuditLog::silent(),
        federation: None,
        sso: None,
        care,
        accounts: accounts.clone(),
        rooms: rooms.clone(),
        push: Push::new(
            store,
            sync.unread().clone(),
            clock.clone(),
            AuditLog::silent(),
            wardroom_push::Settings::default(),
        )
        .unwrap(),
        sync,
        limits: Arc::new(RateLimits::new(clock.clone(), rate_limits)),
        settings: Arc::new(ClientSettings::new(
            owned_server_name!("hospital-a.example"),
            "https://hospital-a.example".to_owned(),
        )),
        clock: clock.clone(),
        stopping: tokio_util::sync::CancellationToken::new(),
    };
    World { accounts, rooms, clock, router: shell(router(state), Arc::new(RequestMetrics::default())) }
}

impl World {
    /// Sends a request; the path goes on after `/_matrix/client`.
    pub(crate) async fn call(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        self.send(method, &format!("/_matrix/client{path}"), token, body).await
    }

    pub(crate) async fn send(&self, method: &str, uri: &str, token: Option<&str>, body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{method} {uri}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn get(&self, path: &str, client: &Client) -> Answer {
        self.call("GET", path, Some(&client.token), &Value::Null).await
    }

    pub(crate) async fn put(&self, path: &str, client: &Client, body: Value) -> Answer {
        self.call("PUT", path, Some(&client.token), &body).await
    }

    pub(crate) async fn post(&self, path: &str, client: &Client, body: Value) -> Answer {
        self.call("POST", path, Some(&client.token), &body).await
    }

    pub(crate) async fn delete(&self, path: &str, client: &Client, body: Value) -> Answer {
        self.call("DELETE", path, Some(&client.token), &body).await
    }

    /// A new user, signed in.
    pub(crate) async fn client(&self, name: &str) -> Client {
        self.accounts.create_user(name, Some(PASSWORD), false).await.unwrap();
        self.sign_in(name).await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Client {
        let (status, body) = self.call("POST", "/v3/login", None, &password_login(name, PASSWORD)).await;
        assert_eq!(status, 200, "{body}");
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        Client { user: text("user_id"), device: text("device_id"), token: text("access_token") }
    }

    /// A room of the client's.
    pub(crate) async fn room(&self, client: &Client) -> String {
        let session = self.accounts.authenticate(&client.token).await.unwrap();
        let actor = Actor {
            user: &session.user,
            nid: UserNid::new(session.nid.get()),
            device: Some(&session.device),
            guest: false,
        };
        let new = NewRoom {
            version: None,
            preset: Preset::PrivateChat,
            creation_content: serde_json::Map::new(),
            initial_state: Vec::new(),
            power_levels: serde_json::Map::new(),
            name: Some("Ward 7".to_owned()),
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: MemberProfile::default(),
        };
        self.rooms.create(actor, new).await.unwrap().to_string()
    }

    /// The contents of the membership events of a room.
    pub(crate) async fn members(&self, room: &str) -> Vec<Value> {
        let view = self.rooms.view(room.try_into().unwrap()).await.unwrap().unwrap();
        let state = self.rooms.state(view.nid, view.state, StateWhich::Members).await.unwrap();
        state.iter().map(|event| serde_json::from_str(event.pdu.content().get()).unwrap()).collect()
    }
}

pub(crate) fn password_login(name: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password,
    })
}

pub(crate) fn code(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["errcode"].as_str().unwrap_or_default())
}
