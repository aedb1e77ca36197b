//! `fanout`: one sender, many long-polling receivers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Ctx, SETUP_CONCURRENCY, join_lats, parallel, per_op, timeline_seqs};
use crate::{
    client::{Res, Server, User, text},
    procstat::Sampler,
    stats::Lat,
};

#[derive(Args, Clone, Debug)]
pub struct FanoutArgs {
    /// Users who long-poll /sync in the one room; the sender is one more.
    #[arg(long, default_value_t = 50)]
    pub users: usize,
    #[arg(long, default_value_t = 30)]
    pub messages: usize,
    /// Milliseconds between the starts of two sends.
    #[arg(long, default_value_t = 500)]
    pub spacing_ms: u64,
    /// Seconds the receivers wait after the last send for what is still missing.
    #[arg(long, default_value_t = 15)]
    pub grace_s: u64,
}

pub async fn fanout(cx: &Ctx, a: &FanoutArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let users = cx.users(a.users + 1).await?;
    let (sender, receivers) = users.split_first().expect("one user or more");
    let room = cx.server.create_public_room(sender, "fanout").await?;
    let (s, r) = (cx.server.clone(), room.clone());
    parallel(receivers.to_vec(), SETUP_CONCURRENCY, move |u| {
        let (s, r) = (s.clone(), r.clone());
        async move { s.join(&u, &r).await }
    })
    .await?;
    let s = cx.server.clone();
    let tokens = parallel(receivers.to_vec(), SETUP_CONCURRENCY, move |u| {
        let s = s.clone();
        async move {
            let f = json!({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": true}}});
            let v = s.sync(&u, None, 0, &f).await?.json();
            Ok(v["next_batch"].as_str().unwrap_or_default().to_owned())
        }
    })
    .await?;
    let setup = t_setup.elapsed();

    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    // Microseconds from t0 (plus one) at which each message's request was started.
    let starts: Arc<Vec<AtomicU64>> = Arc::new((0..a.messages).map(|_| AtomicU64::new(0)).collect());
    // Microseconds from t0 at which the receivers give up: a hard bound at first, then
    // --grace-s after the last send.
    let give_up = Arc::new(AtomicU64::new((a.spacing_ms * a.messages as u64 + 120_000) * 1000));
    let mut set = JoinSet::new();
    for (u, since) in receivers.iter().cloned().zip(tokens) {
        let (s, room, starts) = (cx.server.clone(), room.clone(), starts.clone());
        set.spawn(receive(s, u, since, room, starts, t0, give_up.clone()));
    }
    tokio::time::sleep(Duration::from_millis(1500)).await; // let the receivers settle in their long polls
    let mut put = Lat::new();
    for (i, start) in starts.iter().enumerate() {
        let next = Instant::now() + Duration::from_millis(a.spacing_ms);
        let mut content = text(&format!("fanout {i}"));
        content["loadgen_seq"] = json!(i);
        start.store(t0.elapsed().as_micros() as u64 + 1, Ordering::SeqCst);
        match cx.server.send(sender, &room, &format!("f{room}{i}"), &content).await {
            Ok(r) => put.ok(r.took, 0),
            Err(e) => put.error(e.key()),
        }
        tokio::time::sleep_until(next.into()).await;
    }
    give_up.fetch_min((t0.elapsed() + Duration::from_secs(a.grace_s)).as_micros() as u64, Ordering::SeqCst);
    let mut deliver = join_lats(set).await;
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    let missed = (a.messages * a.users) as u64 - deliver.count().min((a.messages * a.users) as u64);
    for _ in 0..missed {
        deliver.error("missed");
    }
    per_op(&mut res, deliver.count());
    Ok(cx.line(
        "fanout",
        json!({"users": a.users, "messages": a.messages, "spacing_ms": a.spacing_ms}),
        setup,
        wall,
        json!({"deliver": deliver.to_json(0.0), "send": put.to_json(0.0)}),
        res,
    ))
}

/// One receiver: long-polls until it has seen every message or the deadline passed.
async fn receive(
    s: Server,
    u: User,
    mut since: String,
    room: String,
    starts: Arc<Vec<AtomicU64>>,
    t0: Instant,
    give_up: Arc<AtomicU64>,
) -> Lat {
    let mut lat = Lat::new();
    let mut seen = vec![false; starts.len()];
    let filter = json!({"room": {"timeline": {"limit": 50}, "state": {"lazy_load_members": true}}});
    while (t0.elapsed().as_micros() as u64) < give_up.load(Ordering::SeqCst) && seen.iter().any(|x| !x) {
        match s.sync(&u, Some(&since), 5000, &filter).await {
            Ok(r) => {
                let v = r.json();
                if let Some(nb) = v["next_batch"].as_str() {
                    since = nb.to_owned();
                }
                for seq in timeline_seqs(&v, &room) {
                    let Some(start) = starts.get(seq).map(|x| x.load(Ordering::SeqCst)) else { continue };
                    if start > 0 && !std::mem::replace(&mut seen[seq], true) {
                        let at = r.done.duration_since(t0).as_micros() as u64;
                        lat.ok(Duration::from_micros(at.saturating_sub(start - 1)), 0);
                    }
                }
            }
            Err(e) => {
                lat.error(e.key());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    lat
}
