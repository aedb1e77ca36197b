//! `send`: concurrent message sends for a fixed time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Ctx, SETUP_CONCURRENCY, join_lats, parallel, per_op, room_with};
use crate::{
    client::{Res, User, text},
    procstat::Sampler,
    stats::Lat,
};

#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    /// Users.
    #[arg(long, default_value_t = 16)]
    pub users: usize,
    /// Rooms.
    #[arg(long, default_value_t = 8)]
    pub rooms: usize,
    /// Members in each room (its senders are drawn from them).
    #[arg(long, default_value_t = 4)]
    pub members: usize,
    /// Concurrent senders.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
    /// Seconds measured, after --warmup seconds that are not.
    #[arg(long, default_value_t = 12)]
    pub seconds: u64,
    #[arg(long, default_value_t = 2)]
    pub warmup: u64,
    /// Bytes of message text.
    #[arg(long, default_value_t = 120)]
    pub body_bytes: usize,
}

pub async fn send(cx: &Ctx, a: &SendArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let users = cx.users(a.users.max(1)).await?;
    let mut jobs = Vec::new();
    for r in 0..a.rooms.max(1) {
        let m: Vec<User> =
            (0..a.members.clamp(1, users.len())).map(|k| users[(r * 2 + k) % users.len()].clone()).collect();
        jobs.push((r, m));
    }
    let s = cx.server.clone();
    let rooms = parallel(jobs, SETUP_CONCURRENCY, move |(r, m)| {
        let s = s.clone();
        async move { Ok((room_with(&s, &m[0], &m[1..], &format!("send {r}")).await?, m)) }
    })
    .await?;
    let setup = t_setup.elapsed();

    let body = "x".repeat(a.body_bytes);
    let measuring = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let run = cx.rounds.fetch_add(1, Ordering::Relaxed);
    let mut set = JoinSet::new();
    for c in 0..a.concurrency.max(1) {
        let (room, members) = &rooms[c % rooms.len()];
        let user = members[(c / rooms.len()) % members.len()].clone();
        let (s, room, body) = (cx.server.clone(), room.clone(), body.clone());
        let (measuring, stop) = (measuring.clone(), stop.clone());
        set.spawn(async move {
            let mut lat = Lat::new();
            for i in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let counts = measuring.load(Ordering::Relaxed);
                let r = s.send(&user, &room, &format!("s{run}c{c}n{i}"), &text(&format!("{i} {body}"))).await;
                let failed = r.is_err();
                if counts && !stop.load(Ordering::Relaxed) {
                    match r {
                        Ok(r) => lat.ok(r.took, 0),
                        Err(e) => lat.error(e.key()),
                    }
                }
                if failed {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            lat
        });
    }
    tokio::time::sleep(Duration::from_secs(a.warmup)).await;
    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(a.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    let lat = join_lats(set).await;
    per_op(&mut res, lat.count());
    Ok(cx.line(
        "send",
        json!({"users": a.users, "rooms": a.rooms, "members": a.members, "concurrency": a.concurrency,
            "seconds": a.seconds, "body_bytes": a.body_bytes}),
        setup,
        wall,
        json!({"send": lat.to_json(wall)}),
        res,
    ))
}
