//! How fast a Wardroom is with a hospital's directory: how soon a change of a group of 1,000 is in force in a room, and
//! how long a page of a list of 100,000 users takes. Prints a line for each measure with its target.
//!
//!     cargo run --release -p wardroom-testkit --example directory_speed -- target/release/wardroom
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program to measure")]

use std::{
    env, thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Actor as _, Body, Config, Server, User, Value, json, raw, v3, wait_until};

/// Members of the group.
const MEMBERS: usize = 1_000;
/// Users of the server.
const USERS: usize = 100_000;
/// Requests at the same time.
const AT_ONCE: usize = 8;
/// Pages of the list that are measured.
const PAGES: usize = 40;
const TOKEN: &str = "abc";
const TOKEN_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const SECRET: &str = "a shared secret of the measurement";
const ROLE: &str = "physician@h1/icu";
/// Nothing here may take longer.
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let binary = env::args().nth(1).expect("the path of the binary");
    let config = Config::default()
        .set("registration.shared_secret", &format!("{SECRET:?}"))
        .set("scim.token", &format!("[{{ name = \"bench\", sha256 = \"{TOKEN_SHA256}\" }}]"))
        .set("scim.roles", &format!("[{{ group = \"ICU\", gives = {ROLE:?} }}]"));
    let server = Server::start_with(&binary, config);
    let admin = server.anonymous().register_with_secret(SECRET, "admin", true).ok();
    let admin = User::from_answer(server.http(), &admin, "correct horse battery staple");
    group(&server, &admin);
    lists(&server, &admin);
}

fn scim(server: &Server, method: &str, path: &str, body: Value) -> Value {
    let reply =
        server.http().request_with(method, &raw(&format!("/scim/v2{path}")), Some(TOKEN), &[], Body::Json(body));
    assert!(reply.status < 300, "{}", reply.story());
    if reply.bytes.is_empty() { Value::Null } else { reply.json() }
}

/// Makes users by several requests at the same time; gives their ids in the directory.
fn make_users(server: &Server, from: usize, to: usize) -> Vec<String> {
    let make = |number: usize| {
        let made = scim(server, "POST", "/Users", json!({ "userName": format!("user{number}") }));
        made["id"].as_str().unwrap().to_owned()
    };
    thread::scope(|scope| {
        let part = |first: usize| (from + first..to).step_by(AT_ONCE).map(make).collect::<Vec<_>>();
        let parts: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

fn group(server: &Server, admin: &User) {
    let ids = make_users(server, 0, MEMBERS);
    let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
    let made = scim(server, "POST", "/Groups", json!({ "displayName": "ICU", "members": members }));
    let path = format!("/Groups/{}", made["id"].as_str().unwrap());
    let roles = json!({ "roles": [{ "role": ROLE, "reason": "measures" }] });
    admin.put(raw(&format!("/_wardroom/admin/v1/role_bindings/{}", wardroom_testkit::encode(&admin.id))), roles).ok();
    let room = admin.create_room(json!({ "preset": "public_chat" }));
    let require = json!({ "any_of": [{ "all_of": [ROLE] }] });
    let policy = raw(&format!("/_wardroom/admin/v1/rooms/{}/policy", wardroom_testkit::encode(&room)));
    admin.put(policy, json!({ "version": 1, "require": require })).ok();
    let join = |number: usize| {
        let user = format!("@user{number}:{}", server.name());
        let target = raw(&format!("/_synapse/admin/v1/join/{}", wardroom_testkit::encode(&room)));
        admin.post(target, json!({ "user_id": user })).ok();
    };
    (0..MEMBERS).for_each(join);
    let count = || admin.get(v3(&["rooms", &room, "joined_members"])).ok()["joined"].as_object().unwrap().len();
    assert_eq!(count(), MEMBERS + 2);
    let started = Instant::now();
    let operation = json!([{ "op": "remove", "path": "members" }]);
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    scim(server, "PATCH", &path, json!({ "schemas": schemas, "Operations": operation }));
    let answered = started.elapsed().as_secs_f64();
    wait_until("everybody is out", LIMIT, || (count() == 2).then_some(()));
    let out = started.elapsed().as_secs_f64();
    println!(
        "a group of {MEMBERS} loses its role: refused after {answered:.2} s, out after {out:.2} s (target: at most 5 s)"
    );
}

fn lists(server: &Server, admin: &User) {
    let started = Instant::now();
    make_users(server, MEMBERS, USERS);
    println!("{} users made in {:.0} s", USERS - MEMBERS, started.elapsed().as_secs_f64());
    for order in ["name", "creation_ts", "displayname"] {
        let mut times: Vec<f64> = Vec::new();
        for page in 0..PAGES {
            let from = (page * USERS / PAGES).to_string();
            let target =
                raw("/_synapse/admin/v2/users").query("from", &from).query("limit", "100").query("order_by", order);
            let started = Instant::now();
            let answer = admin.get(target).ok();
            times.push(started.elapsed().as_secs_f64() * 1_000.0);
            assert_eq!(answer["users"].as_array().unwrap().len(), 100);
        }
        times.sort_by(f64::total_cmp);
        let (median, slowest) = (times[PAGES / 2], times[PAGES - 1]);
        println!("a page of 100 of {USERS} users by {order}: {median:.1} ms, at most {slowest:.1} ms (target: 50 ms)");
    }
}
