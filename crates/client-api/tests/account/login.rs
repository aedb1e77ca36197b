//! Login, refresh, logout, who am I, password, deactivation.

use serde_json::{Value, json};
use wardroom_accounts::Registration;

use crate::world::{PASSWORD, SERVER, code, password_login, world, world_with};

#[tokio::test]
async fn the_login_flows_are_told() {
    let world = world().await;
    let answer = world.call("GET", "/v3/login", None, &Value::Null).await;
    let flows = json!([{ "type": "m.login.password" }, { "type": "m.login.token", "get_login_token": true }]);
    assert_eq!(answer, (200, json!({ "flows": flows })));
}

#[tokio::test]
async fn a_password_signs_in_and_whoami_tells_who() {
    let world = world().await;
    let alice = world.client("alice").await;
    assert_eq!(alice.user, format!("@alice:{SERVER}"));
    let (status, body) = world.get("/v3/account/whoami", &alice).await;
    assert_eq!((status, &body["user_id"], &body["device_id"]), (200, &json!(alice.user), &json!(alice.device)));
    let old_style = json!({
        "type": "m.login.password", "user": "alice", "password": PASSWORD,
        "device_id": "TABLET", "initial_device_display_name": "Ward tablet", "refresh_token": true,
    });
    let (status, body) = world.call("POST", "/r0/login", None, &old_style).await;
    assert_eq!((status, &body["device_id"], &body["home_server"]), (200, &json!("TABLET"), &json!(SERVER)));
    assert!(body["refresh_token"].is_string() && body["expires_in_ms"].is_u64());
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_said() {
    let world = world().await;
    world.client("alice").await;
    let login = async |body: &Value| world.call("POST", "/v3/login", None, body).await;
    for body in [password_login("alice", "wrong"), password_login("nobody", PASSWORD), password_login("", "")] {
        assert_eq!(code(&login(&body).await), (403, "M_FORBIDDEN"));
    }
    for body in [
        Value::Null,
        json!({}),
        json!({ "type": 1 }),
        json!({ "type": "m.login.password" }),
        json!({ "type": "m.login.password", "password": "x" }),
        json!({ "type": "m.login.password", "password": 5, "user": "alice" }),
        json!({ "type": "m.login.password", "password": "x", "identifier": { "user": "alice" } }),
    ] {
        assert_eq!(code(&login(&body).await), (400, "M_BAD_JSON"), "{body}");
    }
    let mail = json!({ "type": "m.id.thirdparty", "medium": "email", "address": "a@b.example" });
    for body in
        [json!({ "type": "org.example" }), json!({ "type": "m.login.password", "password": "x", "identifier": mail })]
    {
        assert_eq!(code(&login(&body).await), (400, "M_UNKNOWN"), "{body}");
    }
    let token = json!({ "type": "m.login.token", "token": "x" });
    assert_eq!(code(&login(&token).await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down_however_the_name_is_written() {
    let world = world_with(Registration::default(), true).await;
    world.accounts.create_user("alice", Some(PASSWORD), false).await.unwrap();
    let names = ["alice", "ALICE", "@alice:hospital-a.example"];
    let mut limited = false;
    for n in 0..40 {
        let answer = world.call("POST", "/v3/login", None, &password_login(names[n % 3], "wrong")).await;
        limited |= answer.0 == 429;
    }
    assert!(limited);
    let right = world.call("POST", "/v3/login", None, &password_login("alice", PASSWORD)).await;
    assert_eq!(code(&right), (429, "M_LIMIT_EXCEEDED"));
    assert!(right.1["retry_after_ms"].is_u64());
}

#[tokio::test]
async fn tokens_are_refreshed() {
    let world = world().await;
    world.client("alice").await;
    let mut login = password_login("alice", PASSWORD);
    login["refresh_token"] = true.into();
    let (_, first) = world.call("POST", "/v3/login", None, &login).await;
    let refresh = json!({ "refresh_token": first["refresh_token"] });
    let (status, second) = world.call("POST", "/v3/refresh", None, &refresh).await;
    assert_eq!(status, 200);
    let whoami = async |token: &Value| world.call("GET", "/v3/account/whoami", token.as_str(), &Value::Null).await;
    assert_eq!(whoami(&second["access_token"]).await.0, 200);
    assert_eq!(code(&whoami(&first["access_token"]).await), (401, "M_UNKNOWN_TOKEN"));
    let again = world.call("POST", "/v3/refresh", None, &refresh).await;
    assert_eq!(code(&again), (401, "M_UNKNOWN_TOKEN"));
    assert_ne!(again.1["soft_logout"], json!(true));
    world.clock.advance_ms(second["expires_in_ms"].as_u64().unwrap());
    let expired = whoami(&second["access_token"]).await;
    assert_eq!((code(&expired), &expired.1["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(true)));
    let none = world.call("POST", "/v3/refresh", None, &json!({})).await;
    assert_eq!(code(&none), (400, "M_BAD_JSON"));
}

#[tokio::test]
async fn logout_ends_one_session_or_all() {
    let world = world().await;
    let one = world.client("alice").await;
    let (two, three) = (world.sign_in("alice").await, world.sign_in("alice").await);
    assert_eq!(world.post("/v3/logout", &one, json!({})).await, (200, json!({})));
    assert_eq!(code(&world.get("/v3/account/whoami", &one).await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(world.get("/v3/account/whoami", &two).await.0, 200);
    assert_eq!(world.post("/v3/logout/all", &two, Value::Null).await, (200, json!({})));
    for client in [&two, &three] {
        assert_eq!(code(&world.get("/v3/account/whoami", client).await), (401, "M_UNKNOWN_TOKEN"));
    }
    let nobody = world.call("POST", "/v3/logout", None, &Value::Null).await;
    assert_eq!(code(&nobody), (401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn a_password_is_changed_with_the_old_one() {
    let world = world().await;
    let alice = world.client("alice").await;
    let other = world.sign_in("alice").await;
    let mut body = json!({ "new_password": "tr0ub4dor&3" });
    let (status, challenge) = world.post("/v3/account/password", &alice, body.clone()).await;
    assert_eq!((status, &challenge["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    body["auth"] = password_login("alice", "wrong");
    body["auth"]["session"] = challenge["session"].clone();
    let wrong = world.post("/v3/account/password", &alice, body.clone()).await;
    assert_eq!((code(&wrong), &wrong.1["session"]), ((401, "M_FORBIDDEN"), &challenge["session"]));
    body["auth"]["password"] = PASSWORD.into();
    assert_eq!(world.post("/v3/account/password", &alice, body).await, (200, json!({})));
    assert_eq!(world.get("/v3/account/whoami", &alice).await.0, 200);
    assert_eq!(world.get("/v3/account/whoami", &other).await.0, 401);
    let login = world.call("POST", "/v3/login", None, &password_login("alice", "tr0ub4dor&3")).await;
    assert_eq!(login.0, 200);
    let empty = world.post("/v3/account/password", &alice, json!({ "new_password": "" })).await;
    assert_eq!(code(&empty), (400, "M_WEAK_PASSWORD"));
    let nobody = world.call("POST", "/v3/account/password", None, &json!({ "new_password": "x" })).await;
    assert_eq!(code(&nobody), (401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn a_deactivated_user_is_gone_from_everywhere() {
    let world = world().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let room = world.room(&alice).await;
    let challenge = world.post("/v3/account/deactivate", &alice, json!({})).await;
    assert_eq!(challenge.0, 401);
    let done = world.post("/v3/account/deactivate", &alice, json!({ "auth": password_login("alice", PASSWORD) })).await;
    assert_eq!(done, (200, json!({ "id_server_unbind_result": "success" })));
    assert_eq!(code(&world.get("/v3/account/whoami", &alice).await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(world.members(&room).await[0]["membership"], "leave");
    let login = world.call("POST", "/v3/login", None, &password_login("alice", PASSWORD)).await;
    assert_eq!(code(&login), (403, "M_USER_DEACTIVATED"));
    let profile = world.get(&format!("/v3/profile/{}", alice.user), &bob).await;
    assert_eq!(code(&profile), (404, "M_NOT_FOUND"));
    let taken = world.call("GET", "/v3/register/available?username=alice", None, &Value::Null).await;
    assert_eq!(code(&taken), (400, "M_USER_IN_USE"));
}

#[tokio::test]
async fn capabilities_say_what_can_be_done() {
    let world = world().await;
    let alice = world.client("alice").await;
    let (status, body) = world.get("/v3/capabilities", &alice).await;
    let capabilities = &body["capabilities"];
    assert_eq!((status, &capabilities["m.change_password"]["enabled"]), (200, &json!(true)));
    let versions = &capabilities["m.room_versions"];
    assert_eq!(versions["default"], "12");
    assert_eq!(versions["available"].as_object().unwrap().len(), 7);
    assert_eq!(versions["available"]["6"], "stable");
    let nobody = world.call("GET", "/v3/capabilities", None, &Value::Null).await;
    assert_eq!(code(&nobody), (401, "M_MISSING_TOKEN"));
}
