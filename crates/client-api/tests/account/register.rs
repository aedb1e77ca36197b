//! Registration.

use serde_json::{Value, json};
use wardroom_accounts::Registration;

use crate::world::{SERVER, World, code, world, world_with};

async fn register(world: &World, body: &Value) -> (u16, Value) {
    world.call("POST", "/v3/register", None, body).await
}

fn dummy(name: &str) -> Value {
    json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } })
}

#[tokio::test]
async fn registration_is_a_dialogue() {
    let world = world().await;
    let (status, challenge) = register(&world, &json!({})).await;
    assert_eq!((status, &challenge["flows"]), (401, &json!([{ "stages": ["m.login.dummy"] }])));
    let mut body = dummy("Alice");
    body["auth"]["session"] = challenge["session"].clone();
    let (status, answer) = register(&world, &body).await;
    assert_eq!((status, &answer["user_id"]), (200, &json!(format!("@alice:{SERVER}"))));
    let whoami = world.call("GET", "/v3/account/whoami", answer["access_token"].as_str(), &Value::Null).await;
    assert_eq!((whoami.0, &whoami.1["device_id"]), (200, &answer["device_id"]));
}

#[tokio::test]
async fn a_dialogue_about_one_name_registers_no_other() {
    let world = world().await;
    let (_, challenge) = register(&world, &json!({ "username": "alice", "password": "secret" })).await;
    let mut body = dummy("bob");
    body["auth"]["session"] = challenge["session"].clone();
    assert_eq!(code(&register(&world, &body).await), (403, "M_FORBIDDEN"));
    body["username"] = "alice".into();
    assert_eq!(register(&world, &body).await.0, 200);
}

#[tokio::test]
async fn a_dialogue_remembers_what_was_asked_for() {
    let world = world().await;
    let wish = json!({
        "username": "alice", "password": "über secret", "device_id": "ABC", "initial_device_display_name": "phone",
    });
    let (_, challenge) = register(&world, &wish).await;
    let stage = json!({ "auth": { "type": "m.login.dummy", "session": challenge["session"] } });
    let (status, answer) = register(&world, &stage).await;
    assert_eq!((status, &answer["device_id"]), (200, &json!("ABC")), "{answer}");
    assert_eq!(answer["user_id"], format!("@alice:{SERVER}"));
    let device = world.call("GET", "/v3/devices/ABC", answer["access_token"].as_str(), &Value::Null).await;
    assert_eq!(device.1["display_name"], "phone");

    let (_, challenge) = register(&world, &json!({ "password": "secret", "inhibit_login": true })).await;
    let stage = json!({ "auth": { "type": "m.login.dummy", "session": challenge["session"] } });
    let (status, answer) = register(&world, &stage).await;
    assert!(status == 200 && answer.get("access_token").is_none(), "{answer}");
}

#[tokio::test]
async fn who_did_not_get_the_answer_may_ask_again() {
    let world = world().await;
    for name in [None, Some("alice")] {
        let (_, challenge) = register(&world, &json!({ "username": name, "password": "secret" })).await;
        let auth = json!({ "type": "m.login.dummy", "session": challenge["session"] });
        let body = json!({ "username": name, "password": "secret", "auth": auth });
        let (status, first) = register(&world, &body).await;
        assert_eq!(status, 200, "{first}");
        let (status, second) = register(&world, &body).await;
        assert_eq!((status, &second["user_id"], &second["device_id"]), (200, &first["user_id"], &first["device_id"]));
        let whoami = world.call("GET", "/v3/account/whoami", second["access_token"].as_str(), &Value::Null).await;
        assert_eq!((whoami.0, &whoami.1["user_id"]), (200, &first["user_id"]));

        let wrong = json!({ "username": name, "password": "guessed", "auth": auth });
        assert_eq!(code(&register(&world, &wrong).await), (403, "M_FORBIDDEN"));
        let other = json!({ "username": "bob", "password": "secret", "auth": auth });
        assert_eq!(code(&register(&world, &other).await), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn what_cannot_work_is_said_before_the_dialogue() {
    let world = world().await;
    world.client("alice").await;
    let cases = [
        (json!({ "username": "alice" }), "M_USER_IN_USE"),
        (json!({ "username": "ALICE" }), "M_USER_IN_USE"),
        (json!({ "username": "a b" }), "M_INVALID_USERNAME"),
        (json!({ "username": "" }), "M_INVALID_USERNAME"),
        (json!({ "username": "x".repeat(300) }), "M_INVALID_USERNAME"),
        (json!({ "username": 5 }), "M_BAD_JSON"),
        (json!({ "username": "bob", "password": "" }), "M_WEAK_PASSWORD"),
        (json!({ "username": "bob", "auth": { "type": "m.login.dummy" } }), "M_MISSING_PARAM"),
        (json!({ "username": "bob", "type": "m.login.application_service" }), "M_UNKNOWN"),
    ];
    for (body, expected) in cases {
        assert_eq!(code(&register(&world, &body).await), (400, expected), "{body}");
    }
    assert_eq!(register(&world, &dummy("bob")).await.0, 200, "nothing was changed");
}

#[tokio::test]
async fn an_inhibited_login_makes_no_session() {
    let world = world().await;
    let mut body = dummy("alice");
    body["inhibit_login"] = true.into();
    let (status, answer) = register(&world, &body).await;
    assert_eq!((status, answer), (200, json!({ "user_id": format!("@alice:{SERVER}"), "home_server": SERVER })));
    let user = world.accounts.user(format!("@alice:{SERVER}").as_str().try_into().unwrap()).await.unwrap().unwrap();
    assert!(world.accounts.devices(user.nid).await.unwrap().is_empty());
}

#[tokio::test]
async fn closed_registration_is_closed() {
    let world = world_with(Registration::default(), false).await;
    assert_eq!(code(&register(&world, &json!({})).await), (403, "M_FORBIDDEN"));
    assert_eq!(code(&register(&world, &dummy("alice")).await), (403, "M_FORBIDDEN"));
    let available = world.call("GET", "/v3/register/available?username=alice", None, &Value::Null).await;
    assert_eq!(code(&available), (403, "M_FORBIDDEN"));
    let guest = world.call("POST", "/v3/register?kind=guest", None, &json!({})).await;
    assert_eq!(guest.0, 403);
    let path = "/v1/register/m.login.registration_token/validity?token=x";
    assert_eq!(code(&world.call("GET", path, None, &Value::Null).await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn a_registration_token_opens_the_door() {
    let tokens = vec!["sesame".to_owned()];
    let world = world_with(Registration { tokens, ..Registration::default() }, false).await;
    let validity = async |token: &str| {
        let path = format!("/v1/register/m.login.registration_token/validity?token={token}");
        world.call("GET", &path, None, &Value::Null).await
    };
    assert_eq!(validity("sesame").await, (200, json!({ "valid": true })));
    assert_eq!(validity("wrong").await, (200, json!({ "valid": false })));
    assert_eq!(register(&world, &dummy("alice")).await.0, 401);
    let mut body = dummy("alice");
    body["auth"] = json!({ "type": "m.login.registration_token", "token": "wrong" });
    assert_eq!(code(&register(&world, &body).await), (401, "M_UNAUTHORIZED"));
    body["auth"]["token"] = "sesame".into();
    assert_eq!(register(&world, &body).await.0, 200);
}

#[tokio::test]
async fn guests_are_admitted_if_configured() {
    let world = world_with(Registration { guests: true, ..Registration::default() }, false).await;
    let (status, guest) = world.call("POST", "/v3/register?kind=guest", None, &json!({ "device_id": "X" })).await;
    assert_eq!(status, 200);
    assert_ne!(guest["device_id"], "X");
    let (_, whoami) = world.call("GET", "/v3/account/whoami", guest["access_token"].as_str(), &Value::Null).await;
    assert_eq!(whoami["is_guest"], true);
    let password = json!({ "new_password": "x" });
    let change = world.call("POST", "/v3/account/password", guest["access_token"].as_str(), &password).await;
    assert_eq!(code(&change), (403, "M_GUEST_ACCESS_FORBIDDEN"));
    let unheard = world.call("POST", "/v3/register?kind=robot", None, &json!({})).await;
    assert_eq!(code(&unheard), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn names_can_be_asked_for() {
    let world = world().await;
    world.client("alice").await;
    let ask = async |name: &str| {
        world.call("GET", &format!("/v3/register/available?username={name}"), None, &Value::Null).await
    };
    assert_eq!(ask("bob").await, (200, json!({ "available": true })));
    assert_eq!(code(&ask("alice").await), (400, "M_USER_IN_USE"));
    assert_eq!(code(&ask("a%20b").await), (400, "M_INVALID_USERNAME"));
    let missing = world.call("GET", "/v3/register/available", None, &Value::Null).await;
    assert_eq!(code(&missing), (400, "M_MISSING_PARAM"));
}
