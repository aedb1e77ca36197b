//! Messages to devices: order, deletion, limits.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use ruma::{DeviceId, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_accounts::{
    AccountError, Accounts, INBOX_BYTES_MAX, Session, TO_DEVICE_CONTENT_BYTES_MAX, ToDeviceMessages, ToDeviceTarget,
};
use wardroom_store::Position;

use crate::world::{World, world};

async fn session(world: &World, device: &str) -> Session {
    let alice = match world.accounts.user(user_id!("@alice:hospital-a.example")).await.unwrap() {
        Some(alice) => alice,
        None => world.user("alice").await,
    };
    let login = world.login_on(&alice, <&DeviceId>::from(device)).await;
    world.accounts.authenticate(&login.access_token).await.unwrap()
}

fn to(session: &Session, content: &Value) -> ToDeviceMessages {
    let contents = BTreeMap::from([(ToDeviceTarget::Device(session.device.clone()), to_raw_value(content).unwrap())]);
    BTreeMap::from([(session.user.clone(), contents)])
}

async fn send(accounts: &Accounts, from: &Session, transaction: &str, to_whom: &Session, n: usize) {
    accounts.send_to_device(from, "m.x", transaction, &to(to_whom, &json!({ "n": n }))).await.unwrap();
}

async fn waiting(world: &World, session: &Session, after: Position, limit: usize) -> Vec<(Position, usize)> {
    let now = world.store.position();
    let found = world.accounts.to_device_events(session.device_nid, after, now, limit).await.unwrap();
    let number = |json: &[u8]| {
        let event: Value = serde_json::from_slice(json).unwrap();
        usize::try_from(event["content"]["n"].as_u64().unwrap()).unwrap()
    };
    found.iter().map(|event| (event.position, number(&event.json))).collect()
}

/// What happens to an inbox.
#[derive(Clone, Debug)]
enum Step {
    Send,
    /// The same transaction id as the last message.
    SendAgain,
    /// So many messages are told; the next one comes with their token.
    Tell(usize),
    /// An answer is lost: the same is told again.
    Lose(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send),
        1 => Just(Step::SendAgain),
        2 => (1_usize..5).prop_map(Step::Tell),
        1 => (1_usize..5).prop_map(Step::Lose),
    ];
    vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_come_in_order_each_once_and_none_is_lost(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            let (from, device) = (session(&world, "FROM").await, session(&world, "TO").await);
            let (mut sent, mut told, mut token) = (0, 0, Position::ZERO);
            for step in steps {
                match step {
                    Step::Send => {
                        send(&world.accounts, &from, &sent.to_string(), &device, sent).await;
                        sent += 1;
                    }
                    Step::SendAgain if sent > 0 => {
                        send(&world.accounts, &from, &(sent - 1).to_string(), &device, 1_000_000).await;
                    }
                    Step::SendAgain => {}
                    Step::Lose(limit) => drop(waiting(&world, &device, token, limit).await),
                    Step::Tell(limit) => {
                        world.accounts.forget_to_device(device.device_nid, token).await.unwrap();
                        for (position, n) in waiting(&world, &device, token, limit).await {
                            assert_eq!(n, told);
                            told += 1;
                            token = position;
                        }
                    }
                }
                // What was not acknowledged is there for whoever starts anew.
                let all = waiting(&world, &device, token, usize::MAX).await;
                assert_eq!(all.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (told..sent).collect::<Vec<_>>());
            }
            world.accounts.forget_to_device(device.device_nid, token).await.unwrap();
            assert_eq!(waiting(&world, &device, Position::ZERO, usize::MAX).await.len(), sent - told);
        });
    }
}

#[tokio::test]
async fn a_full_inbox_drops_its_oldest_messages() {
    let world = world().await;
    let (from, device) = (session(&world, "FROM").await, session(&world, "TO").await);
    let filler = "x".repeat(TO_DEVICE_CONTENT_BYTES_MAX - 100);
    let fit = usize::try_from(INBOX_BYTES_MAX).unwrap() / TO_DEVICE_CONTENT_BYTES_MAX;
    for n in 0..fit + 20 {
        let content = json!({ "n": n, "filler": filler });
        world.accounts.send_to_device(&from, "m.x", &n.to_string(), &to(&device, &content)).await.unwrap();
    }
    let left = waiting(&world, &device, Position::ZERO, usize::MAX).await;
    assert!(left.len() < fit && !left.is_empty(), "{} of {fit}", left.len());
    let numbers: Vec<usize> = left.iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, (fit + 20 - left.len()..fit + 20).collect::<Vec<_>>(), "the newest are there");
}

#[tokio::test]
async fn what_is_too_large_reaches_nobody() {
    let world = world().await;
    let (from, device) = (session(&world, "FROM").await, session(&world, "TO").await);
    let content = json!({ "filler": "x".repeat(TO_DEVICE_CONTENT_BYTES_MAX) });
    let refused = world.accounts.send_to_device(&from, "m.x", "1", &to(&device, &content)).await;
    assert!(matches!(refused, Err(AccountError::Limit { .. })), "{refused:?}");
    let refused = world.accounts.send_to_device(&from, "m.x", "1", &to(&device, &json!([]))).await;
    assert!(matches!(refused, Err(AccountError::Invalid { .. })), "{refused:?}");
    // `*` counts for each device.
    for n in 0..300 {
        session(&world, &format!("D{n}")).await;
    }
    let content = to_raw_value(&json!({ "filler": "x".repeat(60_000) })).unwrap();
    let contents = BTreeMap::from([(ToDeviceTarget::AllDevices, content)]);
    let refused =
        world.accounts.send_to_device(&from, "m.x", "1", &BTreeMap::from([(from.user.clone(), contents)])).await;
    assert!(matches!(refused, Err(AccountError::Limit { .. })), "{refused:?}");
    assert!(waiting(&world, &device, Position::ZERO, 1).await.is_empty());
}

#[tokio::test]
async fn a_transaction_is_known_for_a_day_and_then_forgotten() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let world = world().await;
    let (from, device) = (session(&world, "FROM").await, session(&world, "TO").await);
    send(&world.accounts, &from, "1", &device, 0).await;
    world.clock.advance_ms(DAY_MS);
    world.accounts.forget_to_device_transactions().await.unwrap();
    send(&world.accounts, &from, "1", &device, 1).await;
    assert_eq!(waiting(&world, &device, Position::ZERO, 9).await.len(), 1);
    world.clock.advance_ms(DAY_MS);
    world.accounts.forget_to_device_transactions().await.unwrap();
    send(&world.accounts, &from, "1", &device, 2).await;
    assert_eq!(waiting(&world, &device, Position::ZERO, 9).await.len(), 2);
}
