//! The load scenarios. Each registers what it needs, measures, and returns one JSON object.

mod account_size;
mod fanout;
mod history;
mod initial_sync;
mod join_storm;
mod login;
mod media;
mod raw_put;
mod send;
mod sliding;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
};

pub use self::{
    account_size::{AccountSizeArgs, account_size},
    fanout::{FanoutArgs, fanout},
    history::{HistoryArgs, history},
    initial_sync::{InitialSyncArgs, initial_sync},
    join_storm::{JoinStormArgs, join_storm},
    login::{LoginArgs, login},
    media::{MediaArgs, media},
    raw_put::{RawPutArgs, raw_put},
    send::{SendArgs, send},
};
use crate::{
    client::{ApiError, Res, Server, User},
    procstat::Target,
    stats::{Lat, round3},
};

/// How many registrations, joins and so on the set-up phases run at once.
const SETUP_CONCURRENCY: usize = 6;

/// What all scenarios of a run share.
pub struct Ctx {
    /// The server under load.
    pub server: Server,
    /// Its processes and directories, to be sampled.
    pub target: Target,
    /// Its name in the results.
    pub label: String,
    /// Part of every user name, so that runs do not collide.
    pub run_id: String,
    /// Users that are registered already.
    pub pool: Mutex<Vec<User>>,
    /// Counts what needs a name of its own.
    pub rounds: AtomicUsize,
}

impl Ctx {
    /// The first `n` users of the pool, registering those that do not exist yet.
    async fn users(&self, n: usize) -> Res<Vec<User>> {
        let mut pool = self.pool.lock().await;
        if pool.len() < n {
            let names: Vec<String> = (pool.len()..n).map(|i| format!("lg{}x{i}", self.run_id)).collect();
            let server = self.server.clone();
            let new = parallel(names, SETUP_CONCURRENCY, move |name| {
                let s = server.clone();
                async move { s.register(&name).await }
            })
            .await?;
            pool.extend(new);
        }
        Ok(pool[..n].to_vec())
    }

    async fn fresh_user(&self, tag: &str) -> Res<User> {
        let n = self.rounds.fetch_add(1, Ordering::Relaxed);
        self.server.register(&format!("lg{}{tag}{n}", self.run_id)).await
    }

    fn line(&self, scenario: &str, params: Value, setup: Duration, wall: f64, metrics: Value, res: Value) -> Value {
        json!({
            "scenario": scenario, "label": self.label, "params": params,
            "setup_s": round3(setup.as_secs_f64()), "wall_s": round3(wall),
            "metrics": metrics, "resources": res,
        })
    }
}

/// Runs `f` over all items, at most `limit` at a time, keeping the order; stops at the first error.
async fn parallel<T, R, F, Fut>(items: Vec<T>, limit: usize, f: F) -> Res<Vec<R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> Fut,
    Fut: Future<Output = Res<R>> + Send + 'static,
{
    let sem = Arc::new(Semaphore::new(limit.max(1)));
    let mut set = JoinSet::new();
    let n = items.len();
    for (i, item) in items.into_iter().enumerate() {
        let (sem, fut) = (sem.clone(), f(item));
        set.spawn(async move {
            let _permit = sem.acquire_owned().await.expect("semaphore is never closed");
            (i, fut.await)
        });
    }
    let mut out: Vec<Option<R>> = (0..n).map(|_| None).collect();
    while let Some(r) = set.join_next().await {
        let (i, r) = r.map_err(|e| ApiError::Io(e.to_string()))?;
        out[i] = Some(r?);
    }
    Ok(out.into_iter().flatten().collect())
}

fn per_op(res: &mut Value, ops: u64) {
    if let (Some(cpu), true) = (res["cpu_s"].as_f64(), ops > 0) {
        res["cpu_ms_per_op"] = json!(round3(cpu * 1000.0 / ops as f64));
    }
    if let (Some(kb), true) = (res["data_growth_kb"].as_f64(), ops > 0) {
        res["data_kb_per_op"] = json!(round3(kb / ops as f64));
    }
}

async fn room_with(server: &Server, owner: &User, others: &[User], name: &str) -> Res<String> {
    let room = server.create_public_room(owner, name).await?;
    for u in others {
        server.join(u, &room).await?;
    }
    Ok(room)
}

async fn join_lats(mut set: JoinSet<Lat>) -> Lat {
    let mut all = Lat::new();
    while let Some(r) = set.join_next().await {
        match r {
            Ok(l) => all.merge(&l),
            Err(_) => all.error("task"),
        }
    }
    all
}

/// The `loadgen_seq` of each message that a sync shows of a room.
fn timeline_seqs(sync: &Value, room: &str) -> Vec<usize> {
    sync["rooms"]["join"][room]["timeline"]["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e["content"]["loadgen_seq"].as_u64()? as usize))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use serde_json::json;

    use super::{ApiError, Res, parallel, per_op, timeline_seqs};

    #[tokio::test]
    async fn parallel_keeps_order_and_limit() {
        let now = Arc::new(AtomicUsize::new(0));
        let peak = Arc::new(AtomicUsize::new(0));
        let (n, p) = (now.clone(), peak.clone());
        let out = parallel((0..40usize).collect(), 5, move |i| {
            let (n, p) = (n.clone(), p.clone());
            async move {
                p.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis((40 - i) as u64 % 7)).await;
                n.fetch_sub(1, Ordering::SeqCst);
                Ok(i * 2)
            }
        })
        .await
        .unwrap();
        assert_eq!(out, (0..40).map(|i| i * 2).collect::<Vec<_>>());
        assert!(peak.load(Ordering::SeqCst) <= 5);
    }

    #[tokio::test]
    async fn parallel_reports_errors() {
        let r: Res<Vec<u32>> =
            parallel(
                vec![1u32, 2, 3],
                2,
                |i| async move { if i == 2 { Err(ApiError::Io("x".into())) } else { Ok(i) } },
            )
            .await;
        assert!(r.is_err());
    }

    #[test]
    fn finds_sequence_numbers_in_a_sync() {
        let v = json!({"rooms": {"join": {"!r": {"timeline": {"events": [
            {"content": {"loadgen_seq": 3}}, {"content": {"body": "x"}}, {"content": {"loadgen_seq": 0}}]}}}}});
        assert_eq!(timeline_seqs(&v, "!r"), [3, 0]);
        assert!(timeline_seqs(&v, "!other").is_empty());
    }

    #[test]
    fn cost_per_operation() {
        let mut r = json!({"cpu_s": 2.0, "data_growth_kb": 500});
        per_op(&mut r, 1000);
        assert_eq!(r["cpu_ms_per_op"], 2.0);
        assert_eq!(r["data_kb_per_op"], 0.5);
        let mut r = json!({"cpu_s": 2.0});
        per_op(&mut r, 0);
        assert!(r.get("cpu_ms_per_op").is_none());
    }
}
