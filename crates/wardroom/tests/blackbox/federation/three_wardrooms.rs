//! Three Wardrooms share rooms.

use wardroom_testkit::{Actor as _, User, json, wait_until};

use super::sites::{Site, VERSIONS, agree, join_via, public_room, sees};
use crate::SOON;

/// A user's server gets to know another server.
#[track_caller]
fn meet(user: &User, site: &Site) {
    let host = site.user("host");
    let room = public_room(&host, "12");
    join_via(user, &room, site);
}

#[test]
fn a_third_server_joins_through_the_second() {
    let sites = [Site::start(), Site::named(), Site::start()];
    let all = [&sites[0], &sites[1], &sites[2]];
    for version in VERSIONS {
        let (alice, bob, carol) = (sites[0].user("alice"), sites[1].user("bob"), sites[2].user("carol"));
        let room = public_room(&alice, version);
        join_via(&bob, &room, &sites[0]);
        join_via(&carol, &room, &sites[1]);
        agree(&room, &all);
        for user in [&alice, &bob, &carol] {
            let said = user.say(&room, &user.localpart);
            for reader in [&alice, &bob, &carol] {
                sees(reader, &room, &said);
            }
        }
        agree(&room, &all);
    }
}

#[test]
fn the_room_lives_on_without_its_first_server() {
    let mut sites = [Site::start(), Site::named(), Site::start()];
    for version in VERSIONS {
        let (alice, bob, carol) = (sites[0].user("alice"), sites[1].user("bob"), sites[2].user("carol"));
        let room = public_room(&alice, version);
        join_via(&bob, &room, &sites[0]);
        agree(&room, &[&sites[0], &sites[1]]);
        // Its signatures are known by its keys, which nobody could ask it for later.
        meet(&carol, &sites[0]);
        sites[0].server.stop();
        join_via(&carol, &room, &sites[1]);
        let said = carol.say(&room, "without alice");
        sees(&bob, &room, &said);
        sites[0].start_again();
        sees(&alice, &room, &said);
        wait_until("the join of the third", SOON, || alice.members(&room, "join").contains(&carol.id).then_some(()));
        agree(&room, &[&sites[0], &sites[1], &sites[2]]);
    }
}

#[test]
fn one_of_several_servers_to_join_through_is_enough() {
    let mut sites = [Site::start(), Site::named(), Site::start()];
    let (alice, bob, carol) = (sites[0].user("alice"), sites[1].user("bob"), sites[2].user("carol"));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &sites[0]);
    agree(&room, &[&sites[0], &sites[1]]);
    meet(&carol, &sites[0]);
    sites[0].server.stop();
    let target = wardroom_testkit::v3(&["join", &room]).query("via", sites[0].name()).query("via", sites[1].name());
    carol.post(target, json!({})).ok();
    agree(&room, &[&sites[1], &sites[2]]);
    sites[0].start_again();
}
