//! Waiting: a sync returns when something happened for its user, and only then.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Actor, User, Value, events, joined, json, timeline, v3};

use crate::{SOON, ward};

/// A wait that must not be ended by anything.
const QUIET: Duration = Duration::from_millis(1_500);
/// A wait that must be ended by something long before it is over.
const LONG: Duration = Duration::from_secs(50);

/// Something that a user hears of, and its name.
type Action<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Starts a long poll, does something once the poll is on its way, and gives the answer and how long it took after.
fn wake(user: &User, action: impl FnOnce()) -> (Value, Duration) {
    let since = user.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    thread::scope(|scope| {
        let (started, on_its_way) = mpsc::channel();
        let poll = scope.spawn(move || {
            started.send(()).unwrap();
            let answer = user.try_sync(Some(&since), LONG, None);
            (answer.ok(), Instant::now())
        });
        on_its_way.recv().unwrap();
        // Whether the request reaches the server before or after the action makes no difference to what must come
        // back; waiting here makes it likely that it is before.
        thread::sleep(Duration::from_millis(100));
        action();
        let acted = Instant::now();
        let (answer, ended) = poll.join().unwrap();
        (answer, ended.saturating_duration_since(acted))
    })
}

#[test]
fn everything_that_concerns_a_user_wakes_the_sync() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = bob.other_device();
    let room = alice.create_public_room(&[&bob]);
    let private = alice.create_room(json!({}));
    let message = bob.say(&room, "first");
    let actions: [Action<'_>; 8] = [
        ("a message", Box::new(|| drop(alice.say(&room, "hello")))),
        ("own message", Box::new(|| drop(desk.say(&room, "hello")))),
        ("a state event", Box::new(|| drop(alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" }))))),
        (
            "a receipt",
            Box::new(|| drop(alice.post(v3(&["rooms", &room, "receipt", "m.read", &message]), json!({})).ok())),
        ),
        (
            "typing",
            Box::new(|| {
                alice.put(v3(&["rooms", &room, "typing", &alice.id]), json!({ "typing": true, "timeout": 5_000 })).ok();
            }),
        ),
        (
            "account data",
            Box::new(|| {
                desk.put(v3(&["user", &bob.id, "account_data", "example.woken"]), json!({})).ok();
            }),
        ),
        (
            "a tag",
            Box::new(|| {
                desk.put(v3(&["user", &bob.id, "rooms", &room, "tags", "u.x"]), json!({})).ok();
            }),
        ),
        ("an invite", Box::new(|| alice.invite(&private, &bob))),
    ];
    for (what, action) in actions {
        let (answer, took) = wake(&bob, action);
        assert!(took < SOON, "{what}: woke only after {took:?}");
        let something = !answer["rooms"]["join"][&room].is_null()
            || !answer["rooms"]["invite"][&private].is_null()
            || !events(&answer["account_data"]["events"]).is_empty();
        assert!(something, "{what}: {answer}");
    }
}

#[test]
fn nothing_of_others_wakes_the_sync() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let left = alice.create_public_room(&[&bob]);
    bob.leave(&left);
    let since = bob.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    let stop = AtomicBool::new(false);
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            // Acts until told to stop: whenever the poll arrives, plenty happens while it waits.
            while !stop.load(Ordering::Relaxed) {
                alice.say(&room, "not for bob");
                alice.say(&left, "not for bob any more");
                alice.put(v3(&["user", &alice.id, "account_data", "example.own"]), json!({})).ok();
                alice.put(v3(&["rooms", &room, "typing", &alice.id]), json!({ "typing": true, "timeout": 5_000 })).ok();
            }
        });
        let answer = bob.try_sync(Some(&since), QUIET, None);
        stop.store(true, Ordering::Relaxed);
        answer
    });
    assert!(answer.took >= QUIET, "ended after {:?}: {}", answer.took, answer.story());
    let sync = answer.ok();
    assert!(sync["rooms"]["join"].get(&room).is_none() && sync["rooms"]["leave"].get(&left).is_none(), "{sync}");
}

#[test]
fn a_quiet_poll_waits_its_time_and_gives_a_token_that_works() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let mut sync = ward().follow(&alice);
    let started = Instant::now();
    let quiet = sync.poll(QUIET);
    assert!(started.elapsed() >= QUIET, "{quiet}");
    assert!(joined(&quiet, &room).is_null(), "{quiet}");
    let id = alice.say(&room, "after the quiet");
    assert_eq!(timeline(&sync.now(), &room)[0]["event_id"], id.as_str());
}

#[test]
fn an_initial_sync_does_not_wait() {
    let alice = ward().user("alice");
    let answer = alice.try_sync(None, LONG, None);
    answer.ok();
    assert!(answer.took < SOON, "{:?}", answer.took);
}

#[test]
fn fifty_waiting_members_all_hear_one_message() {
    let alice = ward().user("alice");
    let listeners: Vec<User> = (0..50).map(|_| ward().user("listener")).collect();
    let room = alice.create_public_room(&listeners.iter().collect::<Vec<_>>());
    let tokens: Vec<String> =
        listeners.iter().map(|user| user.initial_sync()["next_batch"].as_str().unwrap().to_owned()).collect();
    // That others come is news too.
    let filter = Some(r#"{"presence":{"types":[]}}"#);
    thread::scope(|scope| {
        let polls: Vec<_> = listeners
            .iter()
            .zip(&tokens)
            .map(|(user, since)| scope.spawn(move || user.try_sync(Some(since), LONG, filter).ok()))
            .collect();
        let id = alice.say(&room, "all hands");
        for poll in polls {
            let answer = poll.join().unwrap();
            assert_eq!(timeline(&answer, &room)[0]["event_id"], id.as_str(), "{answer}");
        }
    });
}
