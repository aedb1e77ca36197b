//! Who is believed: keys, signed requests, the policy, and what an operator learns about a partner.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use wardroom_testkit::{
    Actor, Config, Ended, Peer, Reply, Server, Target, User, Value, encode, free_port, json,
    peer::{
        Answer,
        signing::{Key, canonical, without},
    },
    raw, run,
};

use crate::BINARY;

/// No command may take longer.
const LIMIT: Duration = Duration::from_secs(60);
const POLICY: &str = "/_wardroom/admin/v1/federation/policy";

fn server() -> Server {
    Server::start_with(BINARY, Config::default().federating_as("127.0.0.1"))
}

fn admin(server: &Server) -> User {
    let secret = "a shared secret of the tests";
    let made = server.anonymous().register_with_secret(secret, &wardroom_testkit::unique("admin"), true).ok();
    User::from_answer(server.http(), &made, "correct horse battery staple")
}

/// A question that only other servers may ask, and whose answer is that there is nobody.
fn question(server: &Server) -> Target {
    Target::federation_v1(&["query", "profile"]).query("user_id", &format!("@nobody:{}", server.name()))
}

#[track_caller]
fn ask(peer: &Peer, server: &Server) -> Reply {
    peer.ask(server, "GET", &question(server), None)
}

/// Whether an object bears a good signature of a server.
fn is_signed(object: &Value, server: &str, key_id: &str, key: &str) -> bool {
    let decode = |text: &str| BASE64_STANDARD_NO_PAD.decode(text).unwrap();
    let key = VerifyingKey::from_bytes(&decode(key).try_into().unwrap()).unwrap();
    let Some(signature) = object["signatures"][server][key_id].as_str() else { return false };
    let signature = Signature::from_slice(&decode(signature)).unwrap();
    key.verify_strict(&canonical(&without(object, &["signatures", "unsigned"])), &signature).is_ok()
}

fn own_key(server: &Server) -> (Value, String, String) {
    let document = server.anonymous().get(raw("/_matrix/key/v2/server")).ok();
    let keys = document["verify_keys"].as_object().unwrap();
    assert_eq!(keys.len(), 1);
    let (id, key) = keys.iter().next().unwrap();
    let (id, key) = (id.clone(), key["key"].as_str().unwrap().to_owned());
    (document, id, key)
}

#[test]
fn the_server_publishes_its_signed_keys_and_its_version() {
    let server = server();
    let (document, id, key) = own_key(&server);
    assert_eq!(document["server_name"], server.name());
    assert_eq!(document["old_verify_keys"], json!({}));
    assert!(is_signed(&document, server.name(), &id, &key), "{document}");
    let now_ms = wardroom_testkit::peer::now_ms();
    let until = document["valid_until_ts"].as_u64().unwrap();
    assert!(until > now_ms + 3_600_000 && until < now_ms + 7 * 24 * 3_600_000, "{until}");
    let by_id = server.anonymous().get(raw(&format!("/_matrix/key/v2/server/{}", encode(&id)))).ok();
    assert_eq!(by_id["verify_keys"], document["verify_keys"]);
    let version = server.anonymous().get(raw("/_matrix/federation/v1/version")).ok();
    assert_eq!(version["server"]["name"], "Wardroom");
    assert!(version["server"]["version"].is_string());
    server.anonymous().get(raw("/.well-known/matrix/server")).refused(404, "M_NOT_FOUND");
}

#[test]
fn delegation_is_told_where_it_is_configured() {
    let config = Config::default().set("federation.well_known_server", r#""matrix.hospital-a.example:443""#);
    let server = Server::start_with(BINARY, config);
    let told = server.anonymous().get(raw("/.well-known/matrix/server")).ok();
    assert_eq!(told, json!({"m.server": "matrix.hospital-a.example:443"}));
}

#[test]
fn requests_must_be_signed_by_their_origin() {
    let (server, peer) = (server(), Peer::start());
    ask(&peer, &server).refused(404, "M_NOT_FOUND");
    let target = question(&server);
    let asked = |header: &str| peer.ask_with(&server, "GET", &target, None, header).unwrap();
    let good = peer.authorization(server.name(), "GET", &target, None);
    asked(&good).refused(404, "M_NOT_FOUND");
    // Unquoted, as old servers write it, and with a parameter that nobody knows.
    asked(&good.replace(&format!("\"{}\"", peer.name()), peer.name())).refused(404, "M_NOT_FOUND");
    asked(&format!("{good},more=\"x\"")).refused(404, "M_NOT_FOUND");

    let elsewhere = peer.authorization("other.example", "GET", &target, None);
    let another = peer.authorization(server.name(), "GET", &raw("/_matrix/federation/v1/version"), None);
    let stranger = Key::generate("stranger");
    for (why, header) in [
        ("missing", String::new()),
        ("another scheme", "Bearer abc".to_owned()),
        ("no parameters", "X-Matrix x".to_owned()),
        ("for another server", elsewhere),
        ("of another request", another),
        ("unknown key", good.replace(&peer.key().id, &stranger.id)),
        ("nobody's", good.replace(peer.name(), &format!("127.0.0.1:{}", free_port()))),
    ] {
        let reply = asked(&header);
        assert_eq!(reply.status, 401, "{why}: {}", reply.story());
        reply.refused(401, "M_UNAUTHORIZED");
    }
    for origin in ["not a server", "localhost:http"] {
        asked(&good.replace(peer.name(), origin)).refused(400, "M_INVALID_PARAM");
    }
    // Bodies that are not the signed one.
    let send = Target::federation_v1(&["send", "1"]);
    let body = json!({"origin": peer.name(), "origin_server_ts": 1, "pdus": [], "edus": []});
    let header = peer.authorization(server.name(), "PUT", &send, Some(&body));
    let other = json!({"origin": peer.name(), "origin_server_ts": 2, "pdus": [], "edus": []});
    peer.ask_with(&server, "PUT", &send, Some(&other), &header).unwrap().refused(401, "M_UNAUTHORIZED");
    let fraction = json!({"origin": peer.name(), "origin_server_ts": 1.5, "pdus": [], "edus": []});
    peer.ask_with(&server, "PUT", &send, Some(&fraction), &header).unwrap().refused(401, "M_UNAUTHORIZED");
}

#[test]
fn administrators_decide_who_takes_part() {
    let (mut server, peer) = (server(), Peer::start());
    let admin = admin(&server);
    assert_eq!(admin.get(raw(POLICY)).ok(), json!({"allow": ["*"], "deny": [], "set_by_administrator": false}));
    ask(&peer, &server).refused(404, "M_NOT_FOUND");

    let deny = json!({"allow": ["*"], "deny": ["127.0.0.1"]});
    admin.put(raw(POLICY), deny).ok();
    ask(&peer, &server).refused(403, "M_FORBIDDEN");
    // Nothing is asked of it either.
    let before = peer.asked("/_matrix").len();
    let alias = admin.get(wardroom_testkit::v3(&["directory", "room", &format!("#a:{}", peer.name())]));
    assert_ne!(alias.status, 200);
    assert_eq!(peer.asked("/_matrix").len(), before);
    server.restart();
    ask(&peer, &server).refused(403, "M_FORBIDDEN");
    assert_eq!(admin.get(raw(POLICY)).ok()["set_by_administrator"], true);

    admin.put(raw(POLICY), json!({"allow": [peer.name()]})).ok();
    ask(&peer, &server).refused(404, "M_NOT_FOUND");
    admin.put(raw(POLICY), json!({"allow": ["*.example"]})).ok();
    ask(&peer, &server).refused(403, "M_FORBIDDEN");
    admin.delete(raw(POLICY)).ok();
    ask(&peer, &server).refused(404, "M_NOT_FOUND");

    for (bad, errcode) in [
        (json!({"allow": ["a b"]}), "M_INVALID_PARAM"),
        (json!({"allow": ["*"], "deny": [""]}), "M_INVALID_PARAM"),
        (json!({"allow": "*"}), "M_BAD_JSON"),
        (json!({}), "M_BAD_JSON"),
    ] {
        admin.put(raw(POLICY), bad).refused(400, errcode);
    }
    let alice = server.user("alice");
    alice.get(raw(POLICY)).refused(403, "M_FORBIDDEN");
    alice.put(raw(POLICY), json!({"allow": []})).refused(403, "M_FORBIDDEN");
    server.anonymous().get(raw(POLICY)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn the_server_is_a_notary() {
    let (server, peer) = (server(), Peer::start());
    let (_, own_id, own_key) = own_key(&server);
    let nobody = server.anonymous();
    let one = nobody.get(raw(&format!("/_matrix/key/v2/query/{}", encode(peer.name())))).ok();
    let many = json!({"server_keys": {(peer.name()): {(&peer.key().id): {"minimum_valid_until_ts": 0}}}});
    let many = nobody.post(raw("/_matrix/key/v2/query"), many).ok();
    let old_form = format!("/_matrix/key/v2/query/{}/{}", encode(peer.name()), encode(&peer.key().id));
    let with_key_id = nobody.get(raw(&old_form)).ok();
    for answer in [one, many, with_key_id] {
        let [document] = answer["server_keys"].as_array().unwrap().as_slice() else { panic!("{answer}") };
        assert!(is_signed(document, peer.name(), &peer.key().id, &peer.key().public()), "{document}");
        assert!(is_signed(document, server.name(), &own_id, &own_key), "{document}");
    }
    assert_eq!(peer.asked("/_matrix/key/v2/server").len(), 1, "fetched once");
    let gone = format!("127.0.0.1:{}", free_port());
    let asked = json!({"server_keys": {(gone): {}, (server.name()): {}}});
    let answer = nobody.post(raw("/_matrix/key/v2/query"), asked).ok();
    let names: Vec<&Value> =
        answer["server_keys"].as_array().unwrap().iter().map(|keys| &keys["server_name"]).collect();
    assert_eq!(names, [server.name()]);
    let too_many: serde_json::Map<String, Value> = (0..101).map(|n| (format!("s{n}.example"), json!({}))).collect();
    nobody.post(raw("/_matrix/key/v2/query"), json!({"server_keys": too_many})).refused(400, "M_INVALID_PARAM");
    nobody.post(raw("/_matrix/key/v2/query"), json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn a_notary_asks_again_for_newer_keys_and_keeps_those_that_were() {
    let (server, peer) = (server(), Peer::start());
    let query = |id: &str, until: u64| {
        let asked = json!({"server_keys": {(peer.name()): {(id): {"minimum_valid_until_ts": until}}}});
        let answer = server.anonymous().post(raw("/_matrix/key/v2/query"), asked).ok();
        answer["server_keys"].as_array().unwrap().clone()
    };
    let fetched = || peer.asked("/_matrix/key/v2/server").len();
    let (old, new) = (Key::generate("old"), Key::generate("new"));
    let publish = |key: &Key, until: u64| {
        let mut document = json!({
            "server_name": peer.name(), "valid_until_ts": until, "old_verify_keys": {},
            "verify_keys": {(&key.id): {"key": key.public()}},
        });
        key.sign_json(peer.name(), &mut document);
        peer.on("/_matrix/key/v2/server", move |_| Answer::ok(&document));
    };
    publish(&old, 1_000);
    assert_eq!(query(&old.id, 0)[0]["valid_until_ts"], 1_000);
    // Expired, and the server has no better one, or none at all: what there is is told all the same.
    assert_eq!(query(&old.id, 2_000)[0]["valid_until_ts"], 1_000);
    peer.on("/_matrix/key/v2/server", |_| Answer::error(400, "M_UNKNOWN"));
    assert_eq!(query(&old.id, 2_000)[0]["valid_until_ts"], 1_000);
    assert_eq!(fetched(), 3, "whoever asks says how good the keys have to be");
    publish(&new, 3_000);
    query(&old.id, 3_000);
    // The server has forgotten its old key; the notary has not.
    let [document] = query(&old.id, 1_000).try_into().unwrap();
    assert!(is_signed(&document, peer.name(), &old.id, &old.public()), "{document}");
    let [document] = query(&new.id, 1_000).try_into().unwrap();
    assert!(is_signed(&document, peer.name(), &new.id, &new.public()), "{document}");
    for _ in 0..20 {
        query(&old.id, 9_000);
    }
    assert!(fetched() <= 8, "nobody has a server asked without end: {}", fetched());
}

#[test]
fn a_replaced_key_stays_published() {
    let mut server = server();
    let (_, old_id, old_key) = own_key(&server);
    let config = server.config_path();
    let rotate = |server: &Server| {
        let mut command = server.command(&["keys", "rotate", "--config"]);
        command.arg(&config);
        run(command, LIMIT)
    };
    rotate(&server).failed(&["running", "stop it first"]);
    server.stop();
    assert!(rotate(&server).ok().contains(&old_id));
    server.start_again();
    let (document, new_id, new_key) = own_key(&server);
    assert_ne!(new_id, old_id);
    assert!(is_signed(&document, server.name(), &new_id, &new_key));
    let old = &document["old_verify_keys"][&old_id];
    assert_eq!(old["key"], old_key);
    assert!(old["expired_ts"].as_u64().unwrap() <= wardroom_testkit::peer::now_ms());
}

fn check(server: &Server, partner: &str) -> Ended {
    let mut command = server.command(&["federation", "check", "--config"]);
    command.arg(server.config_path()).arg(partner);
    run(command, LIMIT)
}

#[test]
fn an_operator_learns_what_is_wrong_with_a_partner() {
    let (mut server, peer) = (server(), Peer::start());
    let good = check(&server, peer.name());
    for word in ["policy", "TLS", "keys", &peer.key().id, "can ask"] {
        assert!(good.ok().contains(word), "{word}: {}", good.stdout);
    }
    check(&server, &format!("127.0.0.1:{}", free_port())).failed(&["nothing listens", "cannot speak to"]);
    check(&server, server.name()).failed(&["this server itself"]);
    check(&server, "not a name").failed(&["partner"]);
    // A listener that speaks no TLS.
    check(&server, &format!("127.0.0.1:{}", server.port(0))).failed(&["TLS"]);
    peer.on("/_matrix/key/v2/server", |_| Answer::ok(&json!({"server_name": "x.example"})));
    check(&server, peer.name()).failed(&["keys", "does not count"]);
    server.reconfigure(|config| {
        config.set("federation.deny", r#"["127.*"]"#).set("federation.deny_ip_ranges", r#"["127.0.0.0/8"]"#)
    });
    server.write_config();
    check(&server, peer.name()).failed(&["federation.deny", "deny_ip_ranges"]);
}
