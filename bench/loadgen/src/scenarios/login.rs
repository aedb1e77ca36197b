//! `login`: password logins for a fixed time.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Ctx, join_lats, per_op};
use crate::{client::Res, procstat::Sampler, stats::Lat};

#[derive(Args, Clone, Debug)]
pub struct LoginArgs {
    #[arg(long, default_value_t = 8)]
    pub users: usize,
    #[arg(long, default_value_t = 4)]
    pub concurrency: usize,
    #[arg(long, default_value_t = 8)]
    pub seconds: u64,
}

pub async fn login(cx: &Ctx, a: &LoginArgs) -> Res<Value> {
    let t_setup = Instant::now();
    let users = cx.users(a.users.max(1)).await?;
    let setup = t_setup.elapsed();
    let end = Instant::now() + Duration::from_secs(a.seconds);
    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let mut set = JoinSet::new();
    for c in 0..a.concurrency.max(1) {
        let (s, users, step) = (cx.server.clone(), users.clone(), a.concurrency.max(1));
        set.spawn(async move {
            let mut lat = Lat::new();
            let mut i = c;
            while Instant::now() < end {
                match s.login(&users[i % users.len()].name).await {
                    Ok(r) => lat.ok(r.took, 0),
                    Err(e) => {
                        lat.error(e.key());
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                i += step;
            }
            lat
        });
    }
    let lat = join_lats(set).await;
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, lat.count());
    Ok(cx.line(
        "login",
        json!({"users": a.users, "concurrency": a.concurrency, "seconds": a.seconds}),
        setup,
        wall,
        json!({"login": lat.to_json(wall)}),
        res,
    ))
}
