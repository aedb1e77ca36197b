//! Devices that receive keys while nobody is signed in
//! ([MSC3814](https://github.com/matrix-org/matrix-spec-proposals/pull/3814)).

use wardroom_testkit::{Actor, Reply, Target, User, Value, events, json, raw, v3};

use crate::{SOON, ward};

const PREFIX: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

fn target() -> Target {
    raw(PREFIX)
}

fn events_of(device: &str) -> Target {
    raw(&format!("{PREFIX}/{device}/events"))
}

/// An upload. Servers do not check the device's own signatures.
fn upload(user: &User, device: &str) -> Value {
    let signed = |key: &str| json!({ "key": key, "signatures": { &user.id: { format!("ed25519:{device}"): "AAAA" } } });
    json!({
        "device_id": device,
        "device_data": { "algorithm": "org.matrix.msc3814.v2", "device_pickle": "abc", "nonce": "def", "more": [1] },
        "initial_device_display_name": "Dehydrated device",
        "device_keys": {
            "user_id": user.id,
            "device_id": device,
            "dehydrated": true,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { format!("ed25519:{device}"): "aaaa", format!("curve25519:{device}"): "bbbb" },
            "signatures": { &user.id: { format!("ed25519:{device}"): "cccc" } },
        },
        "one_time_keys": { "signed_curve25519:AAAA": signed("one") },
        "fallback_keys": { "signed_curve25519:BBBB": signed("two") },
    })
}

#[track_caller]
fn dehydrate(user: &User, device: &str) {
    assert_eq!(user.put(target(), upload(user, device)).ok(), json!({ "device_id": device }));
}

/// The ids of the devices whose keys others see, sorted.
fn queried(asker: &User, user: &User) -> Vec<String> {
    let answer = asker.post(v3(&["keys", "query"]), json!({ "device_keys": { &user.id: [] } })).ok();
    let devices = answer["device_keys"][&user.id].as_object().cloned().unwrap_or_default();
    devices.keys().cloned().collect()
}

#[track_caller]
fn send(sender: &User, user: &User, device: &str, transaction: &str) -> Reply {
    let body = json!({ "messages": { &user.id: { device: { "number": transaction } } } });
    sender.put(v3(&["sendToDevice", "m.example", transaction]), body)
}

/// The numbers of what was sent.
fn numbers(answer: &Value) -> Vec<String> {
    events(&answer["events"]).iter().map(|event| event["content"]["number"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dehydrated_device_is_kept_shown_and_deleted() {
    let alice = ward().user("alice");
    alice.get(target()).refused(404, "M_NOT_FOUND");
    alice.delete(target()).refused(404, "M_NOT_FOUND");
    dehydrate(&alice, "DRY");
    let kept = upload(&alice, "DRY");
    let shown = alice.get(target()).ok();
    assert_eq!(shown, json!({ "device_id": "DRY", "device_data": kept["device_data"] }));
    assert_eq!(alice.other_device().get(target()).ok(), shown, "all devices of the user see it");
    ward().user("bob").get(target()).refused(404, "M_NOT_FOUND");

    let device = alice.get(v3(&["devices", "DRY"])).ok();
    assert_eq!(device["display_name"], "Dehydrated device");
    assert_eq!(alice.delete(target()).ok(), json!({ "device_id": "DRY" }));
    alice.get(target()).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["devices", "DRY"])).refused(404, "M_NOT_FOUND");
    assert!(queried(&alice, &alice).is_empty());
}

#[test]
fn others_find_its_keys_and_claim_them() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    dehydrate(&alice, "DRY");
    let changed = |answer: &Value| events(&answer["device_lists"]["changed"]).contains(&json!(alice.id));
    sync.until("alice's new device", SOON, changed);
    let query = json!({ "device_keys": { &alice.id: ["DRY"] } });
    let keys = bob.post(v3(&["keys", "query"]), query).ok()["device_keys"][&alice.id]["DRY"].clone();
    assert_eq!(
        (&keys["dehydrated"], &keys["unsigned"]["device_display_name"]),
        (&json!(true), &json!("Dehydrated device"))
    );

    let claim = || {
        let body = json!({ "one_time_keys": { &alice.id: { "DRY": "signed_curve25519" } } });
        let answer = bob.post(v3(&["keys", "claim"]), body).ok();
        let keys = answer["one_time_keys"][&alice.id]["DRY"].as_object().cloned().unwrap_or_default();
        keys.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(claim(), ["signed_curve25519:AAAA"]);
    assert_eq!(claim(), ["signed_curve25519:BBBB"], "then the fallback key, again and again");
    assert_eq!(claim(), ["signed_curve25519:BBBB"]);
    alice.delete(target()).ok();
    sync.until("the end of the device", SOON, changed);
    assert!(claim().is_empty());
    assert!(!room.is_empty());
}

#[test]
fn a_new_one_takes_the_place_of_the_old() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    dehydrate(&alice, "OLD");
    send(&bob, &alice, "OLD", "1").ok();
    dehydrate(&alice, "NEW");
    assert_eq!(alice.get(target()).ok()["device_id"], "NEW");
    assert_eq!(queried(&alice, &alice), ["NEW"]);
    alice.get(events_of("OLD")).refused(403, "M_FORBIDDEN");
    // The same id again is another device: nothing that came for the old one is left.
    send(&bob, &alice, "NEW", "2").ok();
    assert_eq!(numbers(&alice.get(events_of("NEW")).ok()), ["2"]);
    dehydrate(&alice, "NEW");
    assert!(numbers(&alice.get(events_of("NEW")).ok()).is_empty());
    assert_eq!(alice.get(v3(&["devices"])).ok()["devices"].as_array().map(Vec::len), Some(2));
}

#[test]
fn messages_are_told_in_pages_and_stay() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    dehydrate(&alice, "DRY");
    let sent: Vec<String> = (0..205).map(|number| number.to_string()).collect();
    for number in &sent {
        send(&bob, &alice, if number == "7" { "*" } else { "DRY" }, number).ok();
    }
    let pages = |ask: &dyn Fn(Option<&str>) -> Value, goes_on: &dyn Fn(&Value) -> bool| {
        let (mut told, mut next, mut asked) = (Vec::new(), None::<String>, 0);
        loop {
            let answer = ask(next.as_deref());
            asked += 1;
            assert!(asked < 10, "no end of the pages: {answer}");
            told.extend(numbers(&answer));
            next = answer["next_batch"].as_str().map(str::to_owned);
            if !goes_on(&answer) {
                return (told, asked);
            }
        }
    };
    let get = |next: Option<&str>| match next {
        Some(next) => alice.get(events_of("DRY").query("from", next)).ok(),
        None => alice.get(events_of("DRY")).ok(),
    };
    let post = |next: Option<&str>| {
        alice.post(events_of("DRY"), next.map_or_else(|| json!({}), |next| json!({ "next_batch": next }))).ok()
    };
    for _ in 0..2 {
        // Clients go on while the field is there, whatever it says.
        assert_eq!(pages(&get, &|answer| answer.get("next_batch").is_some()), (sent.clone(), 3));
        assert_eq!(pages(&post, &|answer| !events(&answer["events"]).is_empty()), (sent.clone(), 4));
    }
    let page = get(None);
    let first = &events(&page["events"])[0];
    assert_eq!(*first, json!({ "type": "m.example", "sender": bob.id, "content": { "number": "0" } }));
    for junk in ["", "s1", "d", "d-1", "x"] {
        alice.get(events_of("DRY").query("from", junk)).refused(400, "M_INVALID_PARAM");
        alice.post(events_of("DRY"), json!({ "next_batch": junk })).refused(400, "M_INVALID_PARAM");
    }
    alice.post(events_of("DRY"), json!({ "next_batch": 5 })).refused(400, "M_BAD_JSON");
    alice.get(events_of(&alice.device)).refused(403, "M_FORBIDDEN");
    bob.get(events_of("DRY")).refused(403, "M_FORBIDDEN");
    bob.post(events_of("DRY"), json!({})).refused(403, "M_FORBIDDEN");
}

#[test]
fn it_is_no_session_and_goes_with_the_sessions() {
    let alice = ward().user("alice");
    dehydrate(&alice, "DRY");
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": alice.id },
        "password": alice.password,
        "device_id": "DRY",
    });
    alice.anonymous().post(v3(&["login"]), login).refused_somehow();
    assert_eq!(alice.get(target()).ok()["device_id"], "DRY");

    // Logging one device out leaves it.
    let other = alice.other_device();
    other.post(v3(&["logout"]), json!({})).ok();
    assert_eq!(alice.get(target()).ok()["device_id"], "DRY");

    alice.with_password_stage("DELETE", &v3(&["devices", "DRY"]), json!({})).ok();
    alice.get(target()).refused(404, "M_NOT_FOUND");

    dehydrate(&alice, "DRY");
    alice.post(v3(&["logout", "all"]), json!({})).ok();
    let again = alice.other_device();
    again.get(target()).refused(404, "M_NOT_FOUND");
    assert!(queried(&again, &again).is_empty());
}

#[test]
fn bad_uploads_are_refused_and_change_nothing() {
    let alice = ward().user("alice");
    dehydrate(&alice, "DRY");
    let with = |pointer: &str, value: Value| {
        let mut body = upload(&alice, "WET");
        *body.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        body
    };
    let without = |field: &str| {
        let mut body = upload(&alice, "WET");
        body.as_object_mut().unwrap().remove(field);
        body
    };
    for (body, status, errcode) in [
        (without("device_id"), 400, "M_BAD_JSON"),
        (without("device_data"), 400, "M_BAD_JSON"),
        (without("device_keys"), 400, "M_BAD_JSON"),
        (with("/device_data", json!({ "device_pickle": "abc" })), 400, "M_BAD_JSON"),
        (with("/device_data", json!("text")), 400, "M_BAD_JSON"),
        (with("/device_data/more", json!("x".repeat(130 * 1_024))), 413, "M_TOO_LARGE"),
        (with("/initial_device_display_name", json!("x".repeat(101))), 413, "M_TOO_LARGE"),
        (with("/device_id", json!("")), 400, "M_INVALID_PARAM"),
        (with("/device_id", json!("OTHER")), 400, "M_INVALID_PARAM"),
        (with("/device_keys/user_id", json!("@somebody:else")), 400, "M_INVALID_PARAM"),
        (upload(&alice, &alice.device), 400, "M_INVALID_PARAM"),
        (upload(&alice, &"D".repeat(256)), 413, "M_TOO_LARGE"),
        (with("/one_time_keys/signed_curve25519:AAAA", json!(5)), 400, "M_BAD_JSON"),
    ] {
        alice.put(target(), body).refused(status, errcode);
    }
    assert_eq!(alice.get(target()).ok()["device_id"], "DRY");
    assert_eq!(queried(&alice, &alice), ["DRY"]);
    alice.anonymous().put(target(), upload(&alice, "WET")).refused(401, "M_MISSING_TOKEN");
}
