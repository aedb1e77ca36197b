//! Long polls.

use std::{
    future::{Future as _, pending, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde_json::{Value, json, value::to_raw_value};
use wardroom_accounts::DataScope;
use wardroom_rooms::MemberProfile;
use wardroom_sync::SyncRequest;

use crate::ward::{Person, Ward, asking, bodies, joined, run};

/// Longer than any test: who waits so long was not woken.
const LONG: Duration = Duration::from_secs(300);

fn waiting(since: &Value, filter: Option<Value>) -> SyncRequest {
    SyncRequest { timeout: LONG, ..asking(Some(since), filter) }
}

/// What a long poll answers, started before `act` runs.
async fn poll_while<T>(
    ward: &Ward,
    who: &Person,
    request: SyncRequest,
    act: impl Future<Output = T>,
) -> (Option<Value>, T) {
    let mut poll = pin!(ward.ask(who, request));
    let mut unpolled = Context::from_waker(Waker::noop());
    assert!(matches!(poll.as_mut().poll(&mut unpolled), Poll::Pending), "there is no news yet");
    let done = act.await;
    match tokio::time::timeout(Duration::from_millis(300), poll).await {
        Ok(answer) => (Some(answer.unwrap()), done),
        Err(_) => (None, done),
    }
}

#[test]
fn news_wakes_whom_it_concerns() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let (room, other) = (ward.room(&alice, &[&bob]).await, ward.room(&alice, &[]).await);
        let token = ward.token(&bob).await;
        let request = waiting(&token, None);
        let (answer, _) = poll_while(&ward, &bob, request.clone(), ward.say(&alice, &room, "hi")).await;
        assert_eq!(bodies(joined(&answer.unwrap(), &room)), ["hi"]);

        let token = ward.token(&bob).await;
        let request = waiting(&token, None);
        let (answer, _) = poll_while(&ward, &bob, request.clone(), ward.say(&alice, &other, "elsewhere")).await;
        assert_eq!(answer, None, "a room that bob is not in");

        let invite = ward.rooms.invite(alice.actor(), &other, bob.id(), MemberProfile::default(), None);
        let (answer, _) = poll_while(&ward, &bob, request, invite).await;
        assert!(!answer.unwrap()["rooms"]["invite"][other.as_str()].is_null());

        let token = ward.token(&bob).await;
        let content = to_raw_value(&json!({})).unwrap();
        let set = ward.accounts.set_account_data(bob.0.nid, DataScope::Global, "org.example.x", &content);
        let (answer, _) = poll_while(&ward, &bob, waiting(&token, None), set).await;
        assert_eq!(answer.unwrap()["account_data"]["events"][0]["type"], "org.example.x");
    });
}

#[test]
fn a_room_that_is_joined_while_one_waits_is_listened_to() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        let token = ward.token(&bob).await;
        // The filter hides the joining itself, so that the wait goes on.
        let filter = json!({ "room": {
            "timeline": { "types": ["m.room.message"] }, "state": { "types": [] }, "ephemeral": { "types": [] },
        }, "account_data": { "types": [] } });
        let quiet = ward.sync_with(&bob, Some(&token), filter.clone()).await;
        let act = async {
            ward.join(&bob, &room).await;
            ward.say(&alice, &room, "welcome").await;
        };
        let (answer, ()) = poll_while(&ward, &bob, waiting(&quiet, Some(filter)), act).await;
        assert!(!joined(&answer.unwrap(), &room).is_null());
    });
}

#[test]
fn what_the_filter_hides_does_not_end_the_wait() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        let filter = json!({ "room": { "timeline": { "not_senders": [alice.id()] } } });
        let request = waiting(&token, Some(filter.clone()));
        let (answer, _) = poll_while(&ward, &bob, request, ward.say(&alice, &room, "unheard")).await;
        assert_eq!(answer, None);
        // When time is up, the token has moved on.
        let short = SyncRequest { timeout: Duration::from_millis(20), ..asking(Some(&token), Some(filter)) };
        let answer = ward.ask(&bob, short).await.unwrap();
        assert!(answer["rooms"].is_null() && answer["next_batch"] != token["next_batch"]);
    });
}

#[test]
fn a_stopping_server_answers_at_once() {
    run(async {
        let ward = Ward::new().await;
        let bob = ward.person("bob").await;
        let token = ward.token(&bob).await;
        let answer = ward.syncer.sync(&bob.0, waiting(&token, None), ready(())).await.unwrap();
        assert_eq!(json!(answer.next_batch.to_string()), token["next_batch"]);
        let waits =
            tokio::time::timeout(Duration::from_millis(50), ward.syncer.sync(&bob.0, waiting(&token, None), pending()));
        assert!(waits.await.is_err());
    });
}

#[test]
fn many_wait_for_the_same_message() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let mut crowd = Vec::new();
        for number in 0..20 {
            crowd.push(ward.person(&format!("user{number}")).await);
        }
        let room = ward.room(&alice, &crowd.iter().collect::<Vec<_>>()).await;
        let mut tasks = Vec::new();
        for person in crowd {
            let token = ward.token(&person).await;
            let syncer = ward.syncer.clone();
            tasks.push(tokio::spawn(async move { syncer.sync(&person.0, waiting(&token, None), pending()).await }));
        }
        tokio::task::yield_now().await;
        ward.say(&alice, &room, "to all").await;
        for task in tasks {
            let answer = task.await.unwrap().unwrap();
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(bodies(joined(&answer, &room)), ["to all"]);
            assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 1);
        }
    });
}
