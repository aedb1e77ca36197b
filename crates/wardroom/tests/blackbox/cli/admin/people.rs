//! Accounts, registration tokens, other servers.

use wardroom_testkit::{Actor as _, Peer, json, peer::Answer, unique, v3, wait_until};

use super::Operator;
use crate::{
    SOON,
    federation::sites::{Site, public_room},
};

#[test]
fn an_account_is_made_shown_locked_and_closed() {
    let operator = Operator::start();
    let (server, name) = (operator.server, unique("maria"));
    let id = format!("@{name}:{}", server.name());
    let password = operator.file("the first password\n");
    let create = ["users", "create", &name, "--display-name", "Maria Lopez", "--password-file", &password];
    assert!(operator.shown(&create).contains(&id));
    operator.refused(&create, &["M_USER_IN_USE"]);
    operator.misused(&["users", "create", "somebody", "--password-file", "nowhere"], &["nowhere"]);
    let maria = server.anonymous().login(&name, "the first password");

    let listed = operator.json(&["users", "list", "--search", &name]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!(id)), "{listed}");
    let table = operator.shown(&["users", "list", "--search", &name]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("USER ") && lines[1].starts_with(&id) && lines.len() == 2, "{table}");
    let shown = operator.shown(&["users", "show", &name]);
    assert!(shown.contains("Maria Lopez") && shown.contains("active"), "{shown}");
    operator.refused(&["users", "show", &unique("nobody")], &["M_NOT_FOUND"]);

    operator.shown(&["users", "lock", &id]);
    maria.get(v3(&["account", "whoami"])).refused(401, "M_USER_LOCKED");
    assert!(operator.shown(&["users", "list", "--search", &name]).contains("locked"));
    operator.shown(&["users", "unlock", &id]);
    maria.get(v3(&["account", "whoami"])).ok();
    operator.refused(&["users", "lock", &unique("nobody")], &["M_NOT_FOUND"]);

    let second = operator.file("the second password\n");
    operator.shown(&["users", "reset-password", &name, "--keep-sessions", "--password-file", &second]);
    maria.get(v3(&["account", "whoami"])).ok();
    operator.shown(&["users", "reset-password", &name, "--password-file", &password]);
    maria.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");

    operator.shown(&["users", "admin", &name]);
    assert_eq!(operator.json(&["users", "show", &name])["admin"], true);
    let admins = operator.json(&["users", "list", "--admins", "--search", &name]);
    assert_eq!(admins.as_array().unwrap().len(), 1);
    operator.shown(&["users", "admin", &name, "--revoke"]);
    assert_eq!(operator.json(&["users", "show", &name])["admin"], false);

    operator.shown(&["users", "deactivate", &name, "--erase"]);
    server.anonymous().try_login(&name, "the first password").refused_somehow();
    assert_eq!(operator.shown(&["users", "list", "--search", &name]), "There is nobody.\n");
    let all = operator.shown(&["users", "list", "--search", &name, "--deactivated"]);
    assert!(all.contains("deactivated, erased"), "{all}");
    operator.refused(&["users", "deactivate", &operator.admin.id], &["your own account"]);
}

#[test]
fn what_names_hold_does_not_reach_the_terminal() {
    let operator = Operator::start();
    let user = operator.server.user("trickster");
    user.put(v3(&["profile", &user.id, "displayname"]), json!({ "displayname": "\u{1b}]0;owned\u{7} a\u{202e}b" }))
        .ok();
    let shown = operator.shown(&["users", "show", &user.id]);
    assert!(shown.contains("owned") && !shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
}

#[test]
fn registration_tokens_are_given_out() {
    let operator = Operator::start();
    let token = operator.shown(&["tokens", "create", "--uses", "3", "--until", "8h"]);
    let token = token.trim();
    let listed = operator.json(&["tokens", "list"]);
    let ours = listed.as_array().unwrap().iter().find(|one| one["token"] == token).unwrap();
    assert_eq!(ours["uses_allowed"], 3);
    assert!(ours["expiry_time"].as_u64().is_some());
    assert!(operator.shown(&["tokens", "list"]).contains(token));
    operator.misused(&["tokens", "create", "--until", "2020-01-01T00:00:00Z"], &["past"]);
    operator.misused(&["tokens", "create", "--uses", "many"], &["--uses"]);
}

#[test]
fn other_servers_are_looked_at() {
    let (site, peer) = (Site::start(), Peer::start());
    let operator = Operator::of(&site.server);
    assert_eq!(operator.shown(&["federation", "list"]), "Nothing was ever sent to another server.\n");
    let alice = site.user("alice");
    let room = public_room(&alice, "11");
    peer.join(&site.server, &room, &peer.user("bob"));
    let partner = peer.name();
    alice.say(&room, "heard");
    // Until the first answer is noted, nothing was ever sent.
    wait_until("the partner is listed", SOON, || {
        operator.shown(&["federation", "list"]).contains(partner).then_some(())
    });
    assert_eq!(operator.json(&["federation", "show", partner])["destination"], partner);
    operator.refused(&["federation", "reset", partner], &["nothing to reset"]);
    peer.on("/federation/v1/send/", |_| Answer::error(500, "M_UNKNOWN"));
    alice.say(&room, "not heard");
    wait_until("the failure is noted", SOON, || {
        let shown = operator.json(&["federation", "show", partner]);
        (shown["retry_interval"].as_u64() > Some(0)).then_some(())
    });
    let since = operator.shown(&["federation", "show", partner]);
    assert!(since.contains("not reached since:"), "{since}");
    operator.shown(&["federation", "reset", partner]);
    operator.refused(&["federation", "show", "nowhere.example"], &["M_NOT_FOUND"]);
    operator.misused(&["federation", "show", "no server"], &["SERVER"]);
}
