//! `account-size`: what opening a client costs, by the number of rooms of the account.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{Ctx, SETUP_CONCURRENCY, parallel, per_op, room_with, sliding::sliding_body};
use crate::{
    client::{ApiError, Res, User, text},
    procstat::Sampler,
    stats::Lat,
};

#[derive(Args, Clone, Debug)]
pub struct AccountSizeArgs {
    /// Rooms of the accounts, an account each.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 300, 3_000])]
    pub rooms: Vec<usize>,
    /// Accounts of at most so many rooms do initial syncs too.
    #[arg(long, default_value_t = 300)]
    pub sync_rooms: usize,
    /// Measured requests of each kind.
    #[arg(long, default_value_t = 20)]
    pub iterations: usize,
}

/// An account that is in `rooms` rooms of two, each with a message.
async fn account(cx: &Ctx, owners: &[User], rooms: usize) -> Res<User> {
    let me = cx.fresh_user("a").await?;
    let (server, owners, joiner) = (cx.server.clone(), owners.to_vec(), me.clone());
    parallel((0..rooms).collect(), SETUP_CONCURRENCY, move |i| {
        let (server, owner, me) = (server.clone(), owners[i % owners.len()].clone(), joiner.clone());
        async move {
            let room = room_with(&server, &owner, &[me], &format!("Room {i}")).await?;
            server.send(&owner, &room, &format!("s{room}"), &text("first")).await.map(drop)
        }
    })
    .await?;
    Ok(me)
}

/// Initial syncs, the first of which warms what is kept and does not count, and idle ones from their token.
async fn syncs(cx: &Ctx, me: &User, iterations: usize) -> (Lat, Lat) {
    let (mut initial, mut idle) = (Lat::new(), Lat::new());
    let mut since = String::new();
    for i in 0..=iterations {
        // Each filter differs in a part that changes nothing, so no response cache answers.
        let filter = json!({"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": true}},
            "presence": {"limit": 2_000 + i}});
        match cx.server.sync(me, None, 0, &filter).await {
            Ok(reply) => {
                if i > 0 {
                    initial.ok(reply.took, reply.body.len());
                }
                reply.json()["next_batch"].as_str().unwrap_or_default().clone_into(&mut since);
            }
            Err(error) => initial.error(error.key()),
        }
        match cx.server.sync(me, Some(&since), 0, &filter).await {
            Ok(reply) => idle.ok(reply.took, reply.body.len()),
            Err(error) => idle.error(error.key()),
        }
    }
    (initial, idle)
}

/// The first window of twenty rooms, each time of a new connection; nothing where the server has no sliding sync.
async fn windows(cx: &Ctx, me: &User, iterations: usize) -> Option<Lat> {
    let mut window = Lat::new();
    for i in 0..=iterations {
        match cx.server.sliding_sync(me, None, &sliding_body(&format!("z{i}"), 19)).await {
            Ok(reply) if i > 0 => window.ok(reply.took, reply.body.len()),
            Ok(_) => {}
            Err(ApiError::Status { code: 400 | 404 | 405, .. }) if i == 0 => return None,
            Err(error) => window.error(error.key()),
        }
    }
    Some(window)
}

pub async fn account_size(cx: &Ctx, a: &AccountSizeArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let owners = cx.users(6).await?;
    let mut accounts = Vec::new();
    for rooms in &a.rooms {
        accounts.push((*rooms, account(cx, &owners, *rooms).await?));
    }
    let setup = t_setup.elapsed();
    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let mut metrics = json!({});
    let mut ops = 0;
    for (rooms, me) in &accounts {
        if *rooms <= a.sync_rooms {
            let (initial, idle) = syncs(cx, me, a.iterations).await;
            metrics[format!("initial_{rooms}")] = initial.to_json(0.0);
            metrics[format!("idle_{rooms}")] = idle.to_json(0.0);
            ops += 2 * a.iterations;
        }
        if let Some(window) = windows(cx, me, a.iterations).await {
            metrics[format!("window_{rooms}")] = window.to_json(0.0);
            ops += a.iterations;
        }
    }
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, ops as u64);
    let params = json!({"rooms": a.rooms, "sync_rooms": a.sync_rooms, "iterations": a.iterations});
    Ok(cx.line("account-size", params, setup, wall, metrics, res))
}
