//! `initial-sync`: initial, incremental and idle syncs of an account in many rooms.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{Ctx, SETUP_CONCURRENCY, parallel, per_op, room_with, sliding::sliding, timeline_seqs};
use crate::{
    client::{Res, User, text},
    procstat::Sampler,
    stats::Lat,
};

#[derive(Args, Clone, Debug)]
pub struct InitialSyncArgs {
    /// Rooms the account has joined.
    #[arg(long, default_value_t = 40)]
    pub rooms: usize,
    /// Messages in each room.
    #[arg(long, default_value_t = 10)]
    pub messages: usize,
    /// Members of each room, the account among them.
    #[arg(long, default_value_t = 5)]
    pub members: usize,
    /// Initial syncs measured (one after another).
    #[arg(long, default_value_t = 10)]
    pub iterations: usize,
    /// Incremental syncs measured.
    #[arg(long, default_value_t = 30)]
    pub incremental: usize,
}

/// Rooms with somebody in each who can post, and an account that has joined them all.
async fn set_up(cx: &Ctx, a: &InitialSyncArgs) -> Res<(User, Vec<(String, User)>)> {
    let members = cx.users((a.members.max(2) - 1).max(4)).await?;
    let me = cx.fresh_user("i").await?;
    let (s, per_room, msgs) = (cx.server.clone(), a.members.max(2) - 1, a.messages);
    let me2 = me.clone();
    let rooms = parallel((0..a.rooms).collect(), SETUP_CONCURRENCY, move |r| {
        let (s, me) = (s.clone(), me2.clone());
        let others: Vec<User> = (0..per_room).map(|k| members[(r + k) % members.len()].clone()).collect();
        async move {
            let mut joiners = others[1..].to_vec();
            joiners.push(me);
            let room = room_with(&s, &others[0], &joiners, &format!("Room {r}")).await?;
            for i in 0..msgs {
                let u = &others[i % others.len()];
                s.send(u, &room, &format!("h{room}{i}"), &text(&format!("message {i} of room {r}"))).await?;
            }
            Ok((room, others[0].clone()))
        }
    })
    .await?;
    Ok((me, rooms))
}

/// Initial syncs one after another; the token of the last.
async fn initial_syncs(cx: &Ctx, a: &InitialSyncArgs, me: &User) -> (Lat, String) {
    let mut initial = Lat::new();
    let mut since = String::new();
    let mut rooms_seen = 0;
    for i in 0..a.iterations.max(1) {
        // Each filter differs in a part that changes nothing, so no response cache answers.
        let f = json!({"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": true}},
            "presence": {"limit": 1000 + i}});
        match cx.server.sync(me, None, 0, &f).await {
            Ok(r) => {
                initial.ok(r.took, r.body.len());
                let v = r.json();
                rooms_seen = v["rooms"]["join"].as_object().map_or(0, serde_json::Map::len);
                v["next_batch"].as_str().unwrap_or_default().clone_into(&mut since);
            }
            Err(e) => initial.error(e.key()),
        }
    }
    if rooms_seen != a.rooms {
        initial.error(format!("rooms in sync: {rooms_seen}"));
    }
    (initial, since)
}

/// Incremental syncs, each after a message, and idle ones between them.
async fn incremental_syncs(
    cx: &Ctx,
    a: &InitialSyncArgs,
    me: &User,
    rooms: &[(String, User)],
    mut since: String,
) -> Res<(Lat, Lat)> {
    let (mut incr, mut idle) = (Lat::new(), Lat::new());
    let f = json!({"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": true}}});
    for i in 0..a.incremental {
        let (room, u) = &rooms[i % rooms.len()];
        let mut content = text("incremental");
        content["loadgen_seq"] = json!(i);
        cx.server.send(u, room, &format!("n{since}{i}"), &content).await?;
        match cx.server.sync(me, Some(&since), 2000, &f).await {
            Ok(r) => {
                let v = r.json();
                if timeline_seqs(&v, room).contains(&i) {
                    incr.ok(r.took, r.body.len());
                } else {
                    incr.error("message not in sync");
                }
                v["next_batch"].as_str().unwrap_or_default().clone_into(&mut since);
            }
            Err(e) => incr.error(e.key()),
        }
        match cx.server.sync(me, Some(&since), 0, &f).await {
            Ok(r) => {
                idle.ok(r.took, r.body.len());
                r.json()["next_batch"].as_str().unwrap_or_default().clone_into(&mut since);
            }
            Err(e) => idle.error(e.key()),
        }
    }
    Ok((incr, idle))
}

/// Measures initial, incremental and idle syncs, and sliding ones where the server has them.
pub async fn initial_sync(cx: &Ctx, a: &InitialSyncArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let (me, rooms) = set_up(cx, a).await?;
    let setup = t_setup.elapsed();

    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let (initial, since) = initial_syncs(cx, a, &me).await;
    let (incr, idle) = incremental_syncs(cx, a, &me, &rooms, since).await?;
    let mut ops = (a.iterations.max(1) + 3 * a.incremental) as u64;
    let mut metrics = json!({
        "initial": initial.to_json(0.0),
        "incremental": incr.to_json(0.0),
        "idle": idle.to_json(0.0),
    });
    sliding(cx, a, &me, &rooms, &mut metrics, &mut ops).await?;
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, ops);
    Ok(cx.line(
        "initial-sync",
        json!({"rooms": a.rooms, "messages": a.messages, "members": a.members,
            "iterations": a.iterations, "incremental": a.incremental}),
        setup,
        wall,
        metrics,
        res,
    ))
}
