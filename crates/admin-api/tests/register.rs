//! Registration with the shared secret, over the router without a socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, header};
use ruma::{RoomVersionId, owned_server_name, owned_user_id};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wardroom_accounts::{Accounts, PasswordCost, Settings, TABLES};
use wardroom_admin_api::{AdminState, router};
use wardroom_audit::AuditLog;
use wardroom_care::{Attestations, Care, Judge};
use wardroom_clock::ManualClock;
use wardroom_directories::Directories;
use wardroom_event::SigningKey;
use wardroom_media::Media;
use wardroom_rooms::{Rooms, StandardGate};
use wardroom_store::{Catalogue, Store};
use wardroom_web::{RateLimits, RequestMetrics, shell};

async fn server(secret: Option<&str>) -> (Router, Accounts) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let mut settings = Settings::new(owned_server_name!("hospital-a.example"));
    settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
    settings.registration.shared_secret = secret.map(str::to_owned);
    let tables = [TABLES, wardroom_rooms::TABLES, wardroom_media::TABLES, wardroom_care::TABLES];
    let store = Store::in_memory(Catalogue::new(&tables).unwrap());
    let rooms = wardroom_rooms::Settings {
        server_name: settings.server_name.clone(),
        default_version: RoomVersionId::V12,
        signing_key: Arc::new(SigningKey::generate("1").unwrap()),
        holds: Default::default(),
        retention: wardroom_rooms::RetentionSettings::default(),
    };
    let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), AuditLog::silent(), rooms);
    let dir = tempfile::tempdir().unwrap();
    let media = wardroom_media::Settings {
        server_name: settings.server_name.clone(),
        dir: dir.path().to_owned(),
        sync: false,
        upload_bytes_max: 0,
        user_bytes_max: None,
        remote_bytes_max: 0,
        holds: Default::default(),
        remote_cache_days: None,
        thumbnail_sizes: Vec::new(),
        previews: None,
    };
    let media = Media::open(store.clone(), clock.clone(), AuditLog::silent(), media).await.unwrap();
    let accounts = Accounts::new(store.clone(), clock.clone(), AuditLog::silent(), settings).await.unwrap();
    let access = wardroom_care::Settings {
        service_user: owned_user_id!("@_access:hospital-a.example"),
        display_name: "Access".to_owned(),
        recheck_ms: 1,
        removal_percent_max: 20,
        attest_to: Vec::new(),
    };
    let judge = Judge::load(&store, clock.clone(), AuditLog::silent(), access.service_user.clone()).await.unwrap();
    let attestations = Attestations::new(store.clone(), clock.clone(), judge.clone(), Vec::new());
    let services = (rooms.clone(), accounts.clone());
    let care = Care::new(store, clock.clone(), services, (judge, attestations), AuditLog::silent(), access);
    let none = wardroom_directories::Settings {
        server_name: owned_server_name!("hospital-a.example"),
        ldap: Vec::new(),
        fhir: Vec::new(),
        extra_ca: Vec::new(),
    };
    let directories = Directories::new(clock.clone(), (accounts.clone(), care.clone()), none).unwrap();
    let state = AdminState {
        audit: AuditLog::silent(),
        accounts: accounts.clone(),
        rooms,
        care,
        directories,
        media,
        federation: None,
        limits: Arc::new(RateLimits::new(clock, false)),
        notices: None,
        backups: None,
        impersonation: false,
    };
    (shell(router(state), Arc::new(RequestMetrics::default())), accounts)
}

async fn call(router: &Router, method: &str, body: Vec<u8>) -> (u16, Value) {
    let request = Request::builder().method(method).uri("/_synapse/admin/v1/register").body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
}

async fn nonce(router: &Router) -> String {
    let (status, body) = call(router, "GET", Vec::new()).await;
    assert_eq!(status, 200, "{body}");
    body["nonce"].as_str().unwrap().to_owned()
}

fn mac(fields: &[&str]) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"s3cret").unwrap();
    mac.update(fields.join("\0").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_script_makes_an_administrator() {
    let (router, accounts) = server(Some("s3cret")).await;
    let nonce = nonce(&router).await;
    let body = json!({
        "nonce": nonce, "username": "root", "password": "pizza", "admin": true, "displayname": "Root",
        "mac": mac(&[&nonce, "root", "pizza", "admin"]),
    });
    let (status, answer) = call(&router, "POST", body.to_string().into_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["user_id"], &answer["home_server"]),
        (&json!("@root:hospital-a.example"), &json!("hospital-a.example"))
    );
    let session = accounts.authenticate(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert!(session.admin);
    assert_eq!(session.device.as_str(), answer["device_id"]);
    assert_eq!(accounts.profile(&session.user).await.unwrap().unwrap().displayname.as_deref(), Some("Root"));
    let (status, again) = call(&router, "POST", body.to_string().into_bytes()).await;
    assert_eq!((status, &again["errcode"]), (400, &json!("M_UNKNOWN")), "the nonce is spent");
}

#[tokio::test]
async fn wrong_requests_make_nobody() {
    let (router, accounts) = server(Some("s3cret")).await;
    let good = nonce(&router).await;
    let cases = [
        (json!({}), 400, "M_BAD_JSON"),
        (json!({ "nonce": good, "username": "root", "password": "x" }), 400, "M_BAD_JSON"),
        (json!({ "nonce": good, "username": 5, "password": "x", "mac": "x" }), 400, "M_BAD_JSON"),
        (json!({ "nonce": "x", "username": "root", "password": "x", "mac": "x" }), 400, "M_UNKNOWN"),
        (json!({ "nonce": good, "username": "root", "password": "x", "mac": "x" }), 403, "M_UNKNOWN"),
    ];
    for (body, status, errcode) in cases {
        let answer = call(&router, "POST", body.to_string().into_bytes()).await;
        assert_eq!((answer.0, answer.1["errcode"].as_str()), (status, Some(errcode)), "{body}");
    }
    let nonce = nonce(&router).await;
    let fields = ["root\0x", "pizza"];
    let body = json!({
        "nonce": nonce, "username": fields[0], "password": fields[1],
        "mac": mac(&[&nonce, fields[0], fields[1], "notadmin"]),
    });
    assert_eq!(call(&router, "POST", body.to_string().into_bytes()).await.0, 403, "NUL separates fields");
    for junk in [&b"["[..], b"[]", b"\xff"] {
        assert_eq!(call(&router, "POST", junk.to_vec()).await.0, 400);
    }
    let nobody = accounts.user("@root:hospital-a.example".try_into().unwrap()).await.unwrap();
    assert_eq!(nobody, None);
}

#[tokio::test]
async fn without_a_secret_there_is_no_way_in() {
    let (router, _) = server(None).await;
    let (status, answer) = call(&router, "GET", Vec::new()).await;
    assert_eq!((status, &answer["errcode"]), (400, &json!("M_UNKNOWN")));
}
