//! `history`: back-pagination through a long room.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{Ctx, parallel, per_op, room_with};
use crate::{
    client::{Res, text},
    procstat::Sampler,
    stats::{Lat, round3},
};

#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    /// Message events in the room.
    #[arg(long, default_value_t = 500)]
    pub events: usize,
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// How many times the whole history is read.
    #[arg(long, default_value_t = 10)]
    pub iterations: usize,
}

pub async fn history(cx: &Ctx, a: &HistoryArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let users = cx.users(4).await?;
    let room = room_with(&cx.server, &users[0], &users[1..], "history").await?;
    let (s, r, us) = (cx.server.clone(), room.clone(), users.clone());
    parallel((0..a.events).collect(), 8, move |i| {
        let (s, r, u) = (s.clone(), r.clone(), us[i % us.len()].clone());
        async move { s.send(&u, &r, &format!("e{r}{i}"), &text(&format!("history event {i}"))).await.map(|_| ()) }
    })
    .await?;
    let setup = t_setup.elapsed();

    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let mut lat = Lat::new();
    let mut events = 0u64;
    for _ in 0..a.iterations.max(1) {
        let mut from: Option<String> = None;
        let mut got = 0u64;
        for _ in 0..(a.events / a.limit.max(1) as usize + 20) {
            match cx.server.messages(&users[1], &room, from.as_deref(), a.limit).await {
                Ok(r) => {
                    lat.ok(r.took, r.body.len());
                    let v = r.json();
                    let n = v["chunk"].as_array().map_or(0, Vec::len);
                    got += n as u64;
                    match v["end"].as_str() {
                        Some(end) if n > 0 && from.as_deref() != Some(end) => from = Some(end.to_owned()),
                        _ => break,
                    }
                }
                Err(e) => {
                    lat.error(e.key());
                    break;
                }
            }
        }
        if got < a.events as u64 {
            lat.error(format!("short history: {got}"));
        }
        events += got;
    }
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, lat.count());
    let mut m = lat.to_json(wall);
    m["events_per_s"] = json!(round3(events as f64 / wall));
    Ok(cx.line(
        "history",
        json!({"events": a.events, "limit": a.limit, "iterations": a.iterations}),
        setup,
        wall,
        json!({"page": m}),
        res,
    ))
}
