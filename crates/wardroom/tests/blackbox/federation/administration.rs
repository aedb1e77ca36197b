//! What administrators do with rooms that other servers are in.

use wardroom_testkit::{Actor as _, Target, User, Value, encode, json, raw, unique, wait_until};

use super::sites::{Site, agree, join_via, public_room, sees, try_join_via};
use crate::SOON;

fn admin_of(site: &Site) -> User {
    let server = &site.server;
    let answer = server.anonymous().register_with_secret("a shared secret of the tests", &unique("chief"), true).ok();
    User::from_answer(server.http(), &answer, "correct horse battery staple")
}

fn synapse(path: &str) -> Target {
    raw(&format!("/_synapse/admin/{path}"))
}

fn finished(admin: &User, status: &str) -> Value {
    wait_until("the task ends", 2 * SOON, || {
        let status = admin.get(synapse(status)).ok();
        matches!(status["status"].as_str(), Some("complete" | "failed")).then_some(status)
    })
}

#[test]
fn users_of_other_servers_are_removed_by_somebody_who_may() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob, admin) = (here.user("alice"), there.user("bob"), admin_of(&here));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let remove = |admin: &User, user: &User| {
        let target = raw(&format!("/_wardroom/admin/v1/rooms/{}/remove", encode(&room)));
        admin.post(target, json!({ "user_id": user.id, "reason": "not on duty" }))
    };
    remove(&admin_of(&there), &alice).refused(403, "M_FORBIDDEN");
    remove(&admin, &bob).ok();
    wait_until("bob hears of it", SOON, || (!bob.is_in(&room)).then_some(()));
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["reason"], "not on duty");
}

#[test]
fn a_blocked_room_is_not_entered_by_way_of_another_server() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob, admin) = (here.user("alice"), there.user("bob"), admin_of(&there));
    let room = public_room(&alice, "11");
    let block =
        |block: bool| admin.put(synapse(&format!("v1/rooms/{}/block", encode(&room))), json!({ "block": block })).ok();
    block(true);
    try_join_via(&bob, &room, &here).refused(403, "M_FORBIDDEN");
    assert_eq!(alice.members(&room, "join"), [alice.id.as_str()], "the other server was not asked");
    alice.on_member_id("invite", &room, &bob.id).refused_somehow();
    assert!(bob.initial_sync()["rooms"]["invite"].get(&room).is_none());
    block(false);
    join_via(&bob, &room, &here);
}

#[test]
fn what_was_purged_is_not_fetched_again() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob, admin) = (here.user("alice"), there.user("bob"), admin_of(&there));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let said: Vec<String> = (0..6).map(|number| alice.say(&room, &format!("dose {number}"))).collect();
    sees(&bob, &room, &said[5]);
    let path = format!("v1/purge_history/{}/{}", encode(&room), encode(&said[4]));
    let begun = admin.post(synapse(&path), json!({ "delete_local_events": true })).ok();
    let status = finished(&admin, &format!("v1/purge_history_status/{}", begun["purge_id"].as_str().unwrap()));
    assert_eq!(status["status"], "complete");
    assert_eq!(wardroom_testkit::bodies(&bob.history(&room)), ["dose 4", "dose 5"]);
    bob.try_event(&room, &said[0]).refused(404, "M_NOT_FOUND");
    let answered = bob.say(&room, "thank you");
    sees(&alice, &room, &answered);
    let heard = alice.say(&room, "you are welcome");
    sees(&bob, &room, &heard);
    agree(&room, &[&here, &there]);
    assert_eq!(wardroom_testkit::bodies(&alice.history(&room)).len(), 8, "others keep what they have");
}

#[test]
fn other_servers_hear_that_the_users_of_a_deleted_room_have_left() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob, admin) = (here.user("alice"), there.user("bob"), admin_of(&here));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let said = bob.say(&room, "from there");
    sees(&alice, &room, &said);
    let begun = admin.delete(synapse(&format!("v2/rooms/{}", encode(&room)))).ok();
    let status = finished(&admin, &format!("v2/rooms/delete_status/{}", begun["delete_id"].as_str().unwrap()));
    assert_eq!(status["status"], "complete", "{status}");
    wait_until("bob hears of the leave", SOON, || (bob.members(&room, "join") == [bob.id.as_str()]).then_some(()));
    assert!(here.graph(&room).is_none());
    bob.say(&room, "anybody there?");
    // The room is there again for who comes back to it.
    join_via(&alice, &room, &there);
    let again = bob.say(&room, "welcome back");
    sees(&alice, &room, &again);
    agree(&room, &[&here, &there]);
}
