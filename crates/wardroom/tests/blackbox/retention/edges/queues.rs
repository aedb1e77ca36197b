//! What waits to be sent somewhere while its time runs out. Pushes have their test among the pushes; application services
//! are not served, so nothing waits for them.

use wardroom_testkit::{Actor, events, json, peer::Answer, raw, text, unique, v3, wait_until};

use super::{
    super::{HOUR, now_ms},
    Ward, at_last, at_once, config, purged,
};
use crate::{
    SOON,
    admin::{admin_of, synapse},
};

const SENDS: &str = "/federation/v1/send/";

#[test]
fn what_ends_while_it_waits_for_a_partner_is_not_sent() {
    let mut ward = Ward::new(config());
    let admin = admin_of(&ward.site.server);
    ward.peer.on(SENDS, |_| Answer::error(502, "M_UNKNOWN"));
    for number in 0..3 {
        ward.alice.say(&ward.room, &format!("the old words {number}"));
    }
    wait_until("it is tried", SOON, || ward.peer.asked(SENDS).last().filter(|asked| asked.bytes.len() > 100).cloned());
    at_once(&admin, &ward.room);
    purged(&admin, &ward.room, 3);
    let tried = ward.peer.asked(SENDS).len();
    // Neither from memory nor from the disk.
    ward.site.server.kill9();
    ward.peer.honest();
    ward.site.start_again();
    at_last(&admin, &ward.room);
    ward.alice.say(&ward.room, "after");
    let reset = synapse(&["v1", "federation", "destinations", ward.peer.name(), "reset_connection"]);
    let again = admin.post(reset, json!({}));
    assert!([200, 400].contains(&again.status), "{}", again.story());
    ward.peer.until_pdu("what is not over", SOON, |pdu| pdu["content"]["body"] == "after");
    for sent in ward.peer.asked(SENDS).split_off(tried) {
        assert!(!String::from_utf8_lossy(&sent.bytes).contains("the old words"));
    }
    let bodies: Vec<_> = ward.peer.pdus().iter().map(|pdu| pdu["content"]["body"].clone()).collect();
    assert!(!bodies.iter().any(|body| body.as_str().is_some_and(|body| body.contains("old"))), "{bodies:?}");
    ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "the room goes on");
}

#[test]
fn what_is_over_when_it_is_said_is_sent_to_nobody() {
    let ward = Ward::new(config());
    let admin = admin_of(&ward.site.server);
    at_once(&admin, &ward.room);
    ward.alice.say(&ward.room, "for nobody");
    at_last(&admin, &ward.room);
    ward.alice.say(&ward.room, "for everybody");
    ward.peer.until_pdu("what is not over", SOON, |pdu| pdu["content"]["body"] == "for everybody");
    assert!(ward.peer.pdus().iter().all(|pdu| pdu["content"]["body"] != "for nobody"));
}

/// Messages to devices belong to no room, carry keys more often than words, and have no time: a device that comes back after
/// a long while needs them. They go when it has them, when there are too many, and with the device.
#[test]
fn messages_to_devices_wait_for_their_device_and_go_with_it() {
    let ward = Ward::new(config());
    let admin = admin_of(&ward.site.server);
    let carol = ward.site.user("carol");
    let lost = carol.other_device();
    for device in [&carol, &lost] {
        let messages = json!({ &carol.id: { &device.device: { "n": 1 } } });
        ward.alice.put(v3(&["sendToDevice", "m.x.test", &unique("txn")]), json!({ "messages": messages })).ok();
    }
    at_once(&admin, &ward.room);
    let waiting = |sync: &wardroom_testkit::Value| events(&sync["to_device"]["events"]).len();
    let first = carol.initial_sync();
    assert_eq!(waiting(&first), 1, "a policy of a room is none of them");
    carol.try_sync(first["next_batch"].as_str(), std::time::Duration::ZERO, None).ok();
    assert_eq!(waiting(&carol.initial_sync()), 0, "had, and gone");
    lost.post(v3(&["logout"]), json!({})).ok();
    let login = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": carol.id },
        "password": carol.password, "device_id": lost.device,
    });
    let answer = carol.anonymous().post(v3(&["login"]), login).ok();
    let again = carol.with_token(answer["access_token"].as_str().unwrap());
    assert_eq!(waiting(&again.initial_sync()), 0, "gone with the device");
}

#[test]
fn application_services_have_no_queue() {
    let anonymous = crate::ward().anonymous();
    anonymous.post(raw("/_matrix/client/v1/appservice/bridge/ping"), json!({})).refused(404, "M_UNRECOGNIZED");
    let flows = anonymous.get(v3(&["login"])).ok();
    assert!(events(&flows["flows"]).iter().all(|flow| flow["type"] != "m.login.application_service"), "{flows}");
}

/// Notifications of the client-server API are made of what lives when they are asked for.
#[test]
fn the_list_of_notifications_forgets_what_is_over() {
    let ward = Ward::new(config());
    let (old, young) = (
        ward.sent_before(HOUR, &text("the old words")),
        ward.sent_at(now_ms(), "m.room.message", &text("the young ones")),
    );
    let listed = || ward.alice.get(v3(&["notifications"])).ok().to_string();
    assert!(listed().contains(&old));
    ward.end_early();
    for is_purged in [false, true] {
        if is_purged {
            ward.purged(1);
        }
        assert!(!listed().contains(&old) && listed().contains(&young), "purged: {is_purged}");
    }
}
