//! Roles from a registry of practitioners (FHIR), played by a scripted server.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use tempfile::TempDir;
use wardroom_testkit::{
    Actor as _, Config, Peer, Server, TlsFiles, User, Value, encode, json,
    peer::{Answer, Asked},
    v3, wait_until,
};

use super::policy;
use crate::{
    SOON,
    admin::{admin_of, own},
    server_with,
};

const TOKEN: &str = "a token of the registry";
const STAFF: &str = "https://hospital-a.example/staff";
const ROLE: &str = "physician@h1/icu";
/// Resources on one page.
const PAGE: usize = 2;

/// Practitioners and their roles, and a server that asks for them.
struct Registry {
    peer: Peer,
    /// What it has, by when it changed last.
    resources: Arc<Mutex<Vec<Value>>>,
    server: Server,
    admin: User,
    _dir: TempDir,
}

/// What the registry answers to a search: a page of what matches, and what is included with it.
fn search(resources: &[Value], asked: &Asked, base: &str) -> Answer {
    let kind = asked.path.rsplit('/').next().unwrap();
    let since = asked.parameters("_lastUpdated").pop().map(|since| since.strip_prefix("ge").unwrap().to_owned());
    let is_new = |resource: &&Value| {
        since.as_ref().is_none_or(|since| resource["meta"]["lastUpdated"].as_str().unwrap() >= since.as_str())
    };
    let matches: Vec<&Value> =
        resources.iter().filter(|resource| resource["resourceType"] == kind).filter(is_new).collect();
    let from: usize = asked.parameters("page").pop().map_or(0, |page| page.parse().unwrap());
    let mut entries = Vec::new();
    for resource in matches.iter().skip(from).take(PAGE) {
        entries.push(json!({ "resource": resource, "search": { "mode": "match" } }));
        let included = resource["practitioner"]["reference"].as_str().unwrap_or("Practitioner/none");
        let id = included.trim_start_matches("Practitioner/");
        let included = resources.iter().filter(|other| other["resourceType"] == "Practitioner" && other["id"] == id);
        entries.extend(included.map(|resource| json!({ "resource": resource, "search": { "mode": "include" } })));
    }
    let mut bundle =
        json!({ "resourceType": "Bundle", "type": "searchset", "total": matches.len(), "link": [], "entry": entries });
    if from + PAGE < matches.len() {
        let since = since.map(|since| format!("&_lastUpdated=ge{}", encode(&since))).unwrap_or_default();
        let url = format!("{base}/{kind}?page={}{since}", from + PAGE);
        bundle["link"] = json!([{ "relation": "next", "url": url }]);
    }
    Answer::ok(&bundle)
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = TlsFiles::issued(dir.path()).root;
        let token = dir.path().join("token");
        fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let (peer, resources) = (Peer::start(), Arc::new(Mutex::new(Vec::new())));
        let base = format!("https://{}/fhir", peer.name());
        let source = format!(
            "[{{ name = \"ehr\", base_url = {base:?}, token_file = {token:?}, identifier_system = {STAFF:?}, \
             organizations = {{ \"Organization/1\" = \"h1\" }}, code_systems = [\"urn:codes\"], \
             units = {{ \"Location/7\" = \"icu\" }}, end_sessions = true, poll_seconds = 3600 }}]"
        );
        let config =
            Config::default().set("directories.extra_ca", &format!("[{authority:?}]")).set("directories.fhir", &source);
        let server = server_with(config);
        let admin = admin_of(&server);
        let registry = Self { peer, resources, server, admin, _dir: dir };
        // What is read at the start found nothing to talk to.
        wait_until("the first reading", SOON, || (registry.source()["failures_in_a_row"] == 1).then_some(()));
        registry.honest();
        registry
    }

    /// Answers as a registry does.
    fn honest(&self) {
        let (resources, base) = (Arc::clone(&self.resources), format!("https://{}/fhir", self.peer.name()));
        self.peer.on("/fhir/", move |asked| match &*asked.authorization {
            authorization if authorization == format!("Bearer {TOKEN}") => {
                search(&resources.lock().unwrap(), asked, &base)
            }
            _ => Answer::error(401, "M_UNKNOWN_TOKEN"),
        });
    }

    /// Puts a resource in the place of what had its id, changed at this minute.
    fn put(&self, minute: u8, mut resource: Value) {
        resource["meta"] = json!({ "lastUpdated": format!("2026-11-23T08:{minute:02}:00.000Z") });
        let mut resources = self.resources.lock().unwrap();
        let same = |one: &Value| one["id"] == resource["id"] && one["resourceType"] == resource["resourceType"];
        resources.retain(|one| !same(one));
        resources.push(resource);
    }

    /// Makes somebody known, with a role.
    fn employ(&self, minute: u8, user: &User) {
        self.put(minute, practitioner(&user.localpart, true));
        self.put(minute, role(&user.localpart, true));
    }

    fn source(&self) -> Value {
        self.admin.get(own(&["sources"])).ok()["sources"][0].clone()
    }

    fn poll(&self) -> Value {
        self.admin.post(own(&["sources", "ehr", "poll"]), json!({})).ok()
    }

    /// Reads it, which goes well.
    #[track_caller]
    fn reads(&self) -> Value {
        let source = self.poll();
        assert_eq!(source["failures_in_a_row"], 0, "{source}");
        source
    }

    fn roles(&self, user: &User) -> Value {
        self.admin.get(own(&["role_bindings", &user.id])).ok()["in_force"].clone()
    }
}

fn practitioner(name: &str, active: bool) -> Value {
    let identifier = json!([{ "system": "urn:other", "value": "x" }, { "system": STAFF, "value": name }]);
    json!({ "resourceType": "Practitioner", "id": name, "identifier": identifier, "active": active })
}

fn role(name: &str, active: bool) -> Value {
    json!({
        "resourceType": "PractitionerRole", "id": format!("role-{name}"), "active": active,
        "practitioner": { "reference": format!("Practitioner/{name}") },
        "organization": { "reference": "Organization/1" }, "location": [{ "reference": "Location/7" }],
        "code": [{ "coding": [{ "system": "urn:codes", "code": "physician" }] }],
    })
}

#[test]
fn a_registry_gives_roles_and_takes_them() {
    let registry = Registry::start();
    let Registry { server, admin, peer, .. } = &registry;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    for user in [&alice, &bob, &carol] {
        registry.employ(1, user);
    }
    let source = registry.reads();
    assert_eq!((&source["listed"], &source["skipped"], &source["kind"]), (&json!(3), &json!(0), &json!("fhir")));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    admin.put(own(&["rooms", &room, "policy"]), policy(&[ROLE])).ok();
    for user in [&bob, &carol] {
        assert_eq!(registry.roles(user), json!([ROLE]));
        user.join(&room);
    }
    // What changed is asked for alone.
    let mut sync = server.follow(&bob);
    registry.put(2, role(&bob.localpart, false));
    registry.reads();
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(&room).is_some());
    let asked = peer.asked("/fhir/PractitionerRole");
    let since = asked.last().unwrap().parameters("_lastUpdated").pop();
    assert_eq!(since.as_deref(), Some("ge2026-11-23T08:00:00.000Z"), "a minute before the newest");
    // Who is gone is signed out.
    registry.put(3, practitioner(&carol.localpart, false));
    registry.reads();
    carol.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!((registry.roles(&alice), registry.roles(&carol)), (json!([ROLE]), json!([])));
    // A role ends by itself.
    let mut over = role(&alice.localpart, true);
    over["period"] = json!({ "start": "2020", "end": "2021-06" });
    registry.put(4, over);
    registry.reads();
    assert_eq!(registry.roles(&alice), json!([]));
}

#[test]
fn what_is_not_there_any_more_is_found_out_by_a_whole_reading() {
    let mut registry = Registry::start();
    let (alice, bob) = (registry.server.user("alice"), registry.server.user("bob"));
    registry.employ(1, &alice);
    registry.employ(1, &bob);
    registry.reads();
    registry.resources.lock().unwrap().retain(|resource| resource["id"] != format!("role-{}", bob.localpart));
    registry.reads();
    assert_eq!(registry.roles(&bob), json!([ROLE]), "changes do not tell of it");
    // A start begins with a whole reading.
    registry.server.restart();
    wait_until("the reading", SOON, || (registry.roles(&bob) == json!([])).then_some(()));
    assert_eq!(registry.roles(&alice), json!([ROLE]));
}

#[test]
fn a_registry_that_fails_or_lies_changes_nothing() {
    let registry = Registry::start();
    let Registry { server, admin, peer, .. } = &registry;
    let alice = server.user("alice");
    registry.employ(1, &alice);
    registry.reads();
    let bundle = |more: Value| {
        let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset" });
        bundle.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Answer::ok(&bundle)
    };
    let next = |url: &str| bundle(json!({ "link": [{ "relation": "next", "url": url }] }));
    let elsewhere = Peer::start();
    for (answer, part) in [
        (Answer::error(500, "M_UNKNOWN"), "status 500"),
        (Answer::redirect(&format!("https://{}/fhir/", elsewhere.name())), "status 302"),
        (Answer::bytes(200, "text/html", b"<html>".to_vec()), "no bundle"),
        (Answer::ok(&practitioner("x", true)), "no result of a search"),
        (bundle(json!({ "type": "batch" })), "no result of a search"),
        (bundle(json!({ "entry": [{ "resource": { "resourceType": "OperationOutcome" } }] })), "not complete"),
        (bundle(json!({ "entry": [{ "resource": { "id": "x" } }] })), "without a type"),
        (next(&format!("https://{}/fhir/more", elsewhere.name())), "leads astray"),
        (next(&format!("http://{}/fhir/more", peer.name())), "leads astray"),
        (next("?a"), "leads astray"),
        (Answer::repeated(vec![b' '; 1 << 20], 20), "longer than"),
    ] {
        peer.honest();
        peer.on("/fhir/", move |_| answer.clone());
        let source = registry.poll();
        assert!(source["last_failure"].as_str().unwrap().contains(part), "{part}: {source}");
        assert_eq!(registry.roles(&alice), json!([ROLE]), "{part}");
    }
    assert!(elsewhere.asked("").is_empty(), "nobody else gets the token");
    let alarm = |admin: &User| {
        let alarms = admin.get(own(&["alarms"])).ok();
        alarms["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "source_unavailable")
    };
    assert!(alarm(admin), "an administrator is told");
    peer.honest();
    registry.honest();
    let source = registry.reads();
    assert!(!alarm(admin) && source["last_failure"].is_string() && source["last_success_ts"].is_number(), "{source}");
}

#[test]
fn an_empty_registry_changes_nothing() {
    let mut registry = Registry::start();
    let alice = registry.server.user("alice");
    registry.employ(1, &alice);
    registry.reads();
    // Everything is read again at a start, also by one who remembers nothing.
    registry.server.stop();
    let all = std::mem::take(&mut *registry.resources.lock().unwrap());
    registry.server.start_again();
    wait_until("the reading", SOON, || (registry.source()["failures_in_a_row"] == 1).then_some(()));
    assert!(registry.poll()["last_failure"].as_str().unwrap().contains("lists nobody"));
    assert_eq!(registry.roles(&alice), json!([ROLE]));
    // Nor does one that tells of roles and not of people.
    *registry.resources.lock().unwrap() = vec![all[1].clone()];
    assert!(registry.poll()["last_failure"].as_str().unwrap().contains("not of who has them"));
    assert_eq!(registry.roles(&alice), json!([ROLE]));
}

#[test]
fn sources_are_for_administrators() {
    let server = crate::ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    assert_eq!(admin.get(own(&["sources"])).ok(), json!({ "sources": [] }));
    admin.post(own(&["sources", "nothing", "poll"]), json!({})).refused(404, "M_NOT_FOUND");
    alice.get(own(&["sources"])).refused(403, "M_FORBIDDEN");
    alice.post(own(&["sources", "nothing", "poll"]), json!({})).refused(403, "M_FORBIDDEN");
}
