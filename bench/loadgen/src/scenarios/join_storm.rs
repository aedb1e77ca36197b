//! `join-storm`: many users join one public room at once.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{Ctx, parallel, per_op};
use crate::{client::Res, procstat::Sampler, stats::Lat};

#[derive(Args, Clone, Debug)]
pub struct JoinStormArgs {
    #[arg(long, default_value_t = 50)]
    pub users: usize,
    #[arg(long, default_value_t = 25)]
    pub concurrency: usize,
}

pub async fn join_storm(cx: &Ctx, a: &JoinStormArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let users = cx.users(a.users + 1).await?;
    let (owner, joiners) = users.split_first().expect("one user or more");
    let room = cx.server.create_public_room(owner, "storm").await?;
    let setup = t_setup.elapsed();
    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let (s, r) = (cx.server.clone(), room.clone());
    let took = parallel(joiners.to_vec(), a.concurrency, move |u| {
        let (s, r) = (s.clone(), r.clone());
        async move { Ok(s.join(&u, &r).await.map(|x| x.took)) }
    })
    .await?;
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    let mut lat = Lat::new();
    for t in took {
        match t {
            Ok(d) => lat.ok(d, 0),
            Err(e) => lat.error(e.key()),
        }
    }
    per_op(&mut res, lat.count());
    Ok(cx.line(
        "join-storm",
        json!({"users": a.users, "concurrency": a.concurrency}),
        setup,
        wall,
        json!({"join": lat.to_json(wall)}),
        res,
    ))
}
