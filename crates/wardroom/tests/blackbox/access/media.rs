//! What was sent in rooms that require roles is for those who may read them.

use wardroom_testkit::{Actor, Peer, Reply, Target, json, unique};

use super::{Gated, give, policy};
use crate::{
    SOON,
    admin::{admin_of, own},
    federation::sites::Site,
    media::{download, download_path, path, png, upload},
};

/// The content came.
#[track_caller]
fn served(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.story());
}

fn image(uri: &str) -> wardroom_testkit::Value {
    json!({ "msgtype": "m.image", "body": "x-ray", "url": uri })
}

#[test]
fn media_are_for_those_who_may_read_the_room() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let (bob, colleague) = (server.user("bob"), gated.colleague());
    let uri = upload(alice, &png(40, 40), "image/png", None);
    served(&download(&bob, &uri));
    alice.try_send(room, "m.room.message", &unique("t"), image(&uri)).ok();
    let thumbnail = path("/_matrix/client/v1/media/thumbnail", &uri, "").query("width", "32").query("height", "32");
    let named = path("/_matrix/client/v1/media/download", &uri, "/x.png");
    colleague.join(room);
    for target in [download_path(&uri), thumbnail, named] {
        bob.get(target.clone()).refused(403, "M_FORBIDDEN");
        served(&colleague.get(target.clone()));
    }
    server.anonymous().get(path("/_matrix/media/v3/download", &uri, "")).refused_somehow();
    // Naming it elsewhere opens nothing to somebody who may not see it.
    let elsewhere = bob.create_room(json!({ "preset": "public_chat" }));
    bob.try_send(&elsewhere, "m.room.message", &unique("t"), image(&uri)).ok();
    download(&bob, &uri).refused(403, "M_FORBIDDEN");
    // After the loss of the role, as before it.
    give(admin, &colleague.id, &[]);
    download(&colleague, &uri).refused(403, "M_FORBIDDEN");
    // Somebody who may see it passes it on.
    alice.join(&elsewhere);
    alice.try_send(&elsewhere, "m.room.message", &unique("t"), image(&uri)).ok();
    served(&download(&bob, &uri));
}

#[test]
fn pictures_of_people_are_for_everybody() {
    let gated = Gated::of("public_chat");
    let Gated { server, alice, room, .. } = &gated;
    let uri = upload(alice, &png(40, 40), "image/png", None);
    let target = wardroom_testkit::v3(&["profile", &alice.id, "avatar_url"]);
    alice.put(target, json!({ "avatar_url": uri })).ok();
    wardroom_testkit::wait_until("the picture is in the room", SOON, || {
        (alice.state(room, "m.room.member", &alice.id)["avatar_url"] == *uri).then_some(())
    });
    served(&download(&server.user("bob"), &uri));
}

#[test]
fn servers_get_media_of_rooms_that_they_are_in() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    let (bob, role) = (peer.user("bob"), "physician@h1");
    give(&admin, &alice.id, &[role]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
    let uri = upload(&alice, &png(40, 40), "image/png", None);
    alice.try_send(&room, "m.room.message", &unique("t"), image(&uri)).ok();
    let id = uri.rsplit('/').next().unwrap();
    let target = Target::federation_v1(&["media", "download", id]);
    peer.ask(&site.server, "GET", &target, None).refused(403, "M_FORBIDDEN");
    give(&admin, &bob, &[role]);
    peer.join(&site.server, &room, &bob);
    assert_eq!(peer.ask(&site.server, "GET", &target, None).status, 200);
}
