//! `raw-put`: the `send` request against any server that answers PUT.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Ctx, join_lats, per_op};
use crate::{
    client::{Res, enc, text},
    procstat::Sampler,
    stats::Lat,
};

#[derive(Args, Clone, Debug)]
pub struct RawPutArgs {
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
    #[arg(long, default_value_t = 8)]
    pub seconds: u64,
    #[arg(long, default_value_t = 120)]
    pub body_bytes: usize,
}

/// The `send` request against any HTTP server that answers PUT: the ceiling of this
/// generator and of the machine's HTTP stack.
pub async fn raw_put(cx: &Ctx, a: &RawPutArgs) -> Res<Value> {
    let end = Instant::now() + Duration::from_secs(a.seconds);
    let sampler = Sampler::start(&cx.target);
    let t0 = Instant::now();
    let mut set = JoinSet::new();
    let body = "x".repeat(a.body_bytes);
    for c in 0..a.concurrency.max(1) {
        let (s, body) = (cx.server.clone(), body.clone());
        set.spawn(async move {
            let mut lat = Lat::new();
            for i in 0u64.. {
                if Instant::now() >= end {
                    break;
                }
                let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/c{c}n{i}", enc("!room:bench"));
                match s.call(Method::PUT, &path, Some("token"), Some(&text(&format!("{i} {body}")))).await {
                    Ok(r) => lat.ok(r.took, 0),
                    Err(e) => lat.error(e.key()),
                }
            }
            lat
        });
    }
    let lat = join_lats(set).await;
    let wall = t0.elapsed().as_secs_f64();
    let mut res = sampler.finish();
    per_op(&mut res, lat.count());
    Ok(cx.line(
        "raw-put",
        json!({"concurrency": a.concurrency, "seconds": a.seconds, "body_bytes": a.body_bytes}),
        Duration::ZERO,
        wall,
        json!({"put": lat.to_json(wall)}),
        res,
    ))
}
