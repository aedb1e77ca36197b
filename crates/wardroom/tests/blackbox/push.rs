//! Push notifications: rules have their tests among the accounts, unread counts among the syncs.

mod badges;
mod delivery;
mod failures;
mod gateway;
mod notifications;
mod pushers;

use std::sync::LazyLock;

use wardroom_testkit::{Actor, Config, Server, User, Value, json, v3};

use self::gateway::Gateway;
use crate::{BINARY, server_with};

/// A configuration that admits the tests' gateways.
fn config() -> Config {
    Config::default().set("push.allow_http", "true").set("push.allow_ip_ranges", r#"["127.0.0.0/8"]"#)
}

/// The server that these tests share.
fn ward() -> &'static Server {
    static WARD: LazyLock<Server> = LazyLock::new(|| Server::start_with(BINARY, config()));
    &WARD
}

/// The body of `POST /pushers/set` for a push key at a gateway.
fn pusher(key: &str, gateway: &str) -> Value {
    json!({
        "kind": "http",
        "app_id": "example.ward",
        "pushkey": key,
        "app_display_name": "Ward",
        "device_display_name": "Phone",
        "lang": "en",
        // Tests that run at the same time take no pushers away from each other.
        "append": true,
        "data": { "url": gateway, "custom": 7 },
    })
}

/// Sets a pusher.
#[track_caller]
fn set(user: &User, body: Value) {
    user.post(v3(&["pushers", "set"]), body).ok();
}

/// The push keys of a user.
#[track_caller]
fn keys(user: &User) -> Vec<String> {
    let answer = user.get(v3(&["pushers"])).ok();
    let pushers = answer["pushers"].as_array().unwrap();
    pushers.iter().map(|pusher| pusher["pushkey"].as_str().unwrap().to_owned()).collect()
}

/// Alice, who writes, and Bob, who has a pusher at a gateway of his own, in a room with a name.
struct Scene {
    alice: User,
    bob: User,
    room: String,
    gateway: Gateway,
}

impl Scene {
    fn new(server: &Server) -> Self {
        let (alice, bob) = (server.user("alice"), server.user("bob"));
        let room = alice.create_room(json!({ "preset": "public_chat", "name": "Ward 7" }));
        bob.join(&room);
        let gateway = Gateway::start();
        set(&bob, pusher("key", gateway.url()));
        Self { alice, bob, room, gateway }
    }

    fn read(&self, event: &str) {
        self.bob.post(v3(&["rooms", &self.room, "receipt", "m.read", event]), json!({})).ok();
    }
}

/// A server of one test's own that admits the tests' gateways.
fn own_server() -> Server {
    server_with(config())
}
