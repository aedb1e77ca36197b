//! How much of RocksDB's own speed is left of it behind the committer.
//!
//! Concurrent writers commit one value each, one after the other: once as batches of a store, once as `WriteBatch` of
//! a bare RocksDB written by as many threads, with the same sync. Values are random, so that neither compresses.
//!
//! ```text
//! cargo run --release -p wardroom-store --example group_commit -- [seconds] [sync|nosync] [directory]
//! ```
#![expect(clippy::print_stdout, reason = "prints a table")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wardroom_store::{Batch, Catalogue, MasterKey, Options, Profile, Seal, Store, Table};

/// The commits of one writer: (writer, number).
const VALUES: Table<(u64, u64), Vec<u8>> = Table::new(1, "values", Profile::Scan, Seal::System);
/// A message's rows: (writer, number, row).
const ROWS: Table<(u64, u64, u64), Vec<u8>> = Table::new(2, "rows", Profile::Point, Seal::System);
/// Size of the compared values.
const VALUE_BYTES: usize = 2048;
/// Sizes of the rows of a message: event, timeline, state nodes, relations, outbox, audit.
const ROW_BYTES: [usize; 8] = [1000, 50, 80, 400, 200, 50, 100, 300];

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let sync = arguments.next().is_none_or(|word| word != "nosync");
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let base = tempfile::tempdir_in(base)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let time = Duration::from_secs(seconds);
    println!("values of {VALUE_BYTES} bytes, {seconds} s each, sync {sync}");
    println!("{:>8} {:>14} {:>14} {:>7} {:>8}", "writers", "store /s", "RocksDB /s", "ratio", "grouped");
    for writers in [1, 8, 16] {
        let raw = raw_rate(&base.path().join(format!("raw-{writers}")), writers, time, sync)?;
        let dir = base.path().join(format!("store-{writers}"));
        let (rate, grouped) = runtime.block_on(store_rate(&dir, writers, time, sync, value_batch))?;
        println!("{writers:>8} {rate:>14.0} {raw:>14.0} {:>6.0}% {grouped:>8.1}", 100.0 * rate / raw);
    }
    let dir = base.path().join("messages");
    let (rate, grouped) = runtime.block_on(store_rate(&dir, 16, time, sync, message_batch))?;
    println!("16 writers of batches with {} rows: {rate:.0} commits/s, {grouped:.1} per group", ROW_BYTES.len());
    Ok(())
}

/// Bytes that do not compress, different for each commit.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn value_batch(writer: u64, number: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(&VALUES, &(writer, number), &noise(writer << 32 | number, VALUE_BYTES));
    batch
}

fn message_batch(writer: u64, number: u64) -> Batch {
    let mut batch = Batch::default();
    for (row, bytes) in (0..).zip(ROW_BYTES) {
        batch.put(&ROWS, &(writer, number, row), &noise(writer << 32 | number << 3 | row, bytes));
    }
    batch
}

/// Commits per second, and commits per group.
async fn store_rate(
    dir: &Path,
    writers: u64,
    time: Duration,
    sync: bool,
    batch: fn(u64, u64) -> Batch,
) -> Result<(f64, f64), Failure> {
    let catalogue = Catalogue::new(&[&[*VALUES.spec(), *ROWS.spec()]])?;
    let options = Options { sync, ..Options::default() };
    let store = Store::open(dir, &MasterKey::generate(), catalogue, options).await?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut number = 0;
                while started.elapsed() < time {
                    store.commit(batch(writer, number)).await?;
                    number += 1;
                }
                Ok::<_, Failure>(number)
            })
        })
        .collect();
    let mut commits = 0;
    for task in tasks {
        commits += task.await??;
    }
    let elapsed = started.elapsed();
    let stats = store.stats();
    store.close().await;
    Ok((rate(commits, elapsed), rate(stats.commits, Duration::from_secs(stats.groups))))
}

fn raw_rate(dir: &Path, writers: u64, time: Duration, sync: bool) -> Result<f64, Failure> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    let db = Arc::new(rocksdb::DB::open(&options, dir)?);
    let commits = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (db, commits) = (&db, &commits);
            scope.spawn(move || -> Result<(), rocksdb::Error> {
                let mut options = rocksdb::WriteOptions::default();
                options.set_sync(sync);
                let mut number: u64 = 0;
                while started.elapsed() < time {
                    let mut batch = rocksdb::WriteBatch::default();
                    let key = [writer.to_be_bytes(), number.to_be_bytes()].concat();
                    batch.put(key, noise(writer << 32 | number, VALUE_BYTES));
                    db.write_opt(batch, &options)?;
                    number += 1;
                    commits.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
    });
    Ok(rate(commits.into_inner(), started.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
