//! The access bot: emergencies by direct chat.

use wardroom_testkit::{Actor, Config, Server, User, Value, bodies, events, json, unique, v3, wait_until};

use super::{REASON, Ward, break_glass};
use crate::{
    SOON,
    access::{Gated, give, policy},
    admin::{admin_of, own},
    server_with,
};

fn bot_of(server: &Server) -> String {
    format!("@_access:{}", server.name())
}

/// A direct chat of somebody with the bot, which is in it.
#[track_caller]
fn chat(server: &Server, user: &User, more: &Value) -> String {
    let mut body = json!({ "is_direct": true, "preset": "trusted_private_chat", "invite": [bot_of(server)] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let room = user.create_room(body);
    let bot = bot_of(server);
    wait_until("the bot", SOON, || user.members(&room, "join").contains(&bot).then_some(()));
    room
}

/// What the bot said in a chat.
fn answers(server: &Server, user: &User, room: &str) -> Vec<String> {
    let bot = bot_of(server);
    let said: Vec<Value> = user.history(room).into_iter().filter(|event| event["sender"] == *bot).collect();
    bodies(&said)
}

/// Says something to the bot, and waits for so many answers in all.
#[track_caller]
fn ask(server: &Server, user: &User, room: &str, text: &str, answers_in_all: usize) -> String {
    user.say(room, text);
    wait_until("an answer", SOON, || {
        let said = answers(server, user, room);
        (said.len() >= answers_in_all).then(|| said.last().unwrap().clone())
    })
}

#[test]
fn an_emergency_goes_by_direct_chat() {
    let ward = Ward::new();
    let (server, doctor, room) = (ward.server(), &ward.doctor, ward.room());
    let alias = format!("#{}:{}", unique("ward"), server.name());
    ward.gated.alice.put(v3(&["directory", "room", &alias]), json!({ "room_id": room })).ok();
    let short = alias.split(':').next().unwrap();
    let chat = chat(server, doctor, &json!({}));
    wait_until("the greeting", SOON, || (answers(server, doctor, &chat).len() == 1).then_some(()));
    let wrong = ask(server, doctor, &chat, &format!("breakglass {short} FUN \"{REASON}\""), 2);
    assert!(wrong.contains("ETREAT, BTG"), "{wrong}");
    let done = ask(server, doctor, &chat, &format!("breakglass {short} ETREAT \"{REASON}\""), 3);
    assert!(done.contains(room) && done.contains("UTC"), "{done}");
    doctor.say(room, "on my way");
    assert!(ask(server, doctor, &chat, "status", 4).contains(room));
    let record = doctor.get(break_glass(room)).ok();
    assert_eq!((&record["reason_code"], &record["reason_text"]), (&json!("ETREAT"), &json!(REASON)));
    let ended = ask(server, doctor, &chat, &format!("end {short}"), 5);
    assert!(ended.contains("has ended"), "{ended}");
    assert!(!doctor.is_in(room));
    assert!(ask(server, doctor, &chat, &format!("end {room}"), 6).contains("no emergency access"));
    let stranger = ask(server, doctor, &chat, "breakglass #nowhere ETREAT \"let me in please\"", 7);
    assert!(stranger.contains("no such room"), "{stranger}");
    assert!(ask(server, doctor, &chat, "what can you do?", 8).contains("breakglass"));
    // Bots do not answer notices, nor messages that replace earlier ones.
    doctor.try_send(&chat, "m.room.message", "n1", json!({ "msgtype": "m.notice", "body": "help" })).ok();
    assert_eq!(ask(server, doctor, &chat, "status", 9), "You have no emergency access to any room now.");
    assert_eq!(answers(server, doctor, &chat).len(), 9);
    assert!(!server.log().contains(REASON), "no command is in the log");
}

#[test]
fn in_an_encrypted_chat_the_bot_says_once_that_it_cannot_read() {
    let server = crate::ward();
    let user = server.user("doctor");
    let encryption = json!([{
        "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" },
    }]);
    let room = chat(server, &user, &json!({ "initial_state": encryption }));
    wait_until("the sentence", SOON, || (answers(server, &user, &room).len() == 1).then_some(()));
    for txn in ["e1", "e2"] {
        user.try_send(&room, "m.room.encrypted", txn, json!({ "algorithm": "m.megolm.v1.aes-sha2" })).ok();
    }
    // What is written in the clear is answered still, and shows that the rest was not.
    let help = ask(server, &user, &room, "help", 2);
    assert!(help.contains("breakglass"));
    let said = answers(server, &user, &room);
    assert!(said.len() == 2 && said[0].contains("encrypted"), "{said:?}");
}

#[test]
fn other_invitations_are_declined() {
    let gated = Gated::of("public_chat");
    let (server, alice) = (gated.server, &gated.alice);
    let bot = bot_of(server);
    let group = alice.create_room(json!({ "invite": [bot] }));
    let crowd = server.user("third");
    let three = alice.create_room(json!({ "is_direct": true, "invite": [bot, crowd.id] }));
    let space = json!({ "is_direct": true, "invite": [bot], "creation_content": { "type": "m.space" } });
    let space = alice.create_room(space);
    for room in [&group, &three, &space] {
        wait_until("the answer", SOON, || {
            (alice.state(room, "m.room.member", &bot)["membership"] == "leave").then_some(())
        });
    }
    // A third person ends the conversation. What is answered in another one was said after what is not in this one.
    let (other, chat) = (chat(server, alice, &json!({})), chat(server, alice, &json!({})));
    for chat in [&other, &chat] {
        wait_until("the greeting", SOON, || (answers(server, alice, chat).len() == 1).then_some(()));
    }
    alice.invite(&chat, &crowd);
    alice.say(&chat, "status");
    ask(server, alice, &other, "help", 2);
    alice.on_member("kick", &chat, &crowd).ok();
    let answer = ask(server, alice, &chat, "help", 2);
    assert!(answer.contains("breakglass"));
}

#[test]
fn only_the_sender_of_a_command_counts() {
    let ward = Ward::new();
    let (server, stranger) = (ward.server(), ward.server().user("stranger"));
    let chat = chat(server, &stranger, &json!({}));
    wait_until("the greeting", SOON, || (answers(server, &stranger, &chat).len() == 1).then_some(()));
    let refused = ask(server, &stranger, &chat, &format!("breakglass {} ETREAT \"{REASON}\"", ward.room()), 2);
    assert!(refused.contains("no such room"), "{refused}");
    assert!(!stranger.is_in(ward.room()));
}

#[test]
fn what_is_written_while_the_server_stops_is_answered_once() {
    let mut server = server_with(Config::default());
    let (admin, alice, doctor) = (admin_of(&server), server.user("alice"), server.user("doctor"));
    give(&admin, &alice.id, &["physician@h1"]);
    give(&admin, &doctor.id, &["clinician@h1"]);
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let mut rules = policy(&["physician@h1"]);
    rules["break_glass"] = json!({
        "enabled": true, "who": { "any_of": [{ "all_of": ["clinician@h1"] }] }, "reasons": ["ETREAT"],
    });
    admin.put(own(&["rooms", &room, "policy"]), rules).ok();
    let chat = chat(&server, &doctor, &json!({}));
    wait_until("the greeting", SOON, || (answers(&server, &doctor, &chat).len() == 1).then_some(()));
    let mut asked = 1;
    for pause_ms in [0, 60, 90, 120] {
        doctor.say(&chat, &format!("breakglass {room} ETREAT \"{REASON}\""));
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        server.kill9();
        server.start_again();
        asked += 1;
        let said = wait_until("the answer", SOON, || {
            Some(answers(&server, &doctor, &chat)).filter(|said| said.len() >= asked)
        });
        assert!(said.last().unwrap().contains(&room), "{said:?}");
        doctor.delete(break_glass(&room)).ok();
    }
    // The last answer is behind everything before it.
    ask(&server, &doctor, &chat, "status", asked + 1);
    assert_eq!(answers(&server, &doctor, &chat).len(), asked + 1);
    let records = admin.get(own(&["break_glass"]).query("user_id", &doctor.id)).ok();
    assert_eq!(events(&records["emergencies"]).len(), 4, "{records}");
}
