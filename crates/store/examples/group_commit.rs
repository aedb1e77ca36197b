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
    sync::atomic::{AtomicU64, Ordering},
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

/// Turns that the two take: disks have moods, and both shall meet the same.
const ROUNDS: u32 = 10;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let sync = arguments.next().is_none_or(|word| word != "nosync");
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let base = tempfile::tempdir_in(base)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let turn = Duration::from_secs(seconds) / ROUNDS;
    println!("values of {VALUE_BYTES} bytes, {seconds} s each, sync {sync}");
    println!(
        "{:>8} {:>10} {:>10} {:>7} {:>8} {:>12}",
        "writers", "store /s", "RocksDB /s", "ratio", "grouped", "write ms"
    );
    for writers in [1, 8, 16] {
        let raw = open_raw(&base.path().join(format!("raw-{writers}")))?;
        let store = runtime.block_on(open_store(&base.path().join(format!("store-{writers}")), sync))?;
        let (mut raw_commits, mut store_commits) = (0, 0);
        for round in 0..u64::from(ROUNDS) {
            raw_commits += raw_turn(&raw, writers, round << 32, turn, sync);
            store_commits += runtime.block_on(store_turn(&store, writers, round << 32, turn, value_batch))?;
        }
        let ratio = 100.0 * rate(store_commits, turn * ROUNDS) / rate(raw_commits, turn * ROUNDS);
        let (raw, rates) = (rate(raw_commits, turn * ROUNDS), rate(store_commits, turn * ROUNDS));
        let stats = store.stats();
        let grouped = rate(stats.commits, Duration::from_secs(stats.groups));
        let write = rate(stats.write_micros, Duration::from_millis(stats.groups)) / 1e6;
        println!("{writers:>8} {rates:>10.0} {raw:>10.0} {ratio:>6.0}% {grouped:>8.1} {write:>12.3}");
        runtime.block_on(store.close());
    }
    let store = runtime.block_on(open_store(&base.path().join("messages"), sync))?;
    let commits = runtime.block_on(store_turn(&store, 16, 0, turn * ROUNDS, message_batch))?;
    let stats = store.stats();
    let grouped = rate(stats.commits, Duration::from_secs(stats.groups));
    println!(
        "16 writers of batches with {} rows: {:.0} commits/s, {grouped:.1} per group",
        ROW_BYTES.len(),
        rate(commits, turn * ROUNDS)
    );
    runtime.block_on(store.close());
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
    batch.put(&VALUES, &(writer, number), &noise(writer << 48 | number, VALUE_BYTES));
    batch
}

fn message_batch(writer: u64, number: u64) -> Batch {
    let mut batch = Batch::default();
    for (row, bytes) in (0..).zip(ROW_BYTES) {
        batch.put(&ROWS, &(writer, number, row), &noise(writer << 48 | number << 3 | row, bytes));
    }
    batch
}

async fn open_store(dir: &Path, sync: bool) -> Result<Store, Failure> {
    let catalogue = Catalogue::new(&[&[*VALUES.spec(), *ROWS.spec()]])?;
    let options = Options { sync, ..Options::default() };
    Ok(Store::open(dir, &MasterKey::generate(), catalogue, options).await?)
}

/// Commits until the time is over; answers how many.
async fn store_turn(
    store: &Store,
    writers: u64,
    first: u64,
    time: Duration,
    batch: fn(u64, u64) -> Batch,
) -> Result<u64, Failure> {
    let started = Instant::now();
    let write = |writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut number = first;
            while started.elapsed() < time {
                store.commit(batch(writer, number)).await?;
                number += 1;
            }
            Ok::<_, Failure>(number - first)
        })
    };
    let tasks: Vec<_> = (0..writers).map(write).collect();
    let mut commits = 0;
    for task in tasks {
        commits += task.await??;
    }
    Ok(commits)
}

fn open_raw(dir: &Path) -> Result<rocksdb::DB, Failure> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    Ok(rocksdb::DB::open(&options, dir)?)
}

/// The same with bare RocksDB.
fn raw_turn(db: &rocksdb::DB, writers: u64, first: u64, time: Duration, sync: bool) -> u64 {
    let commits = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let commits = &commits;
            scope.spawn(move || -> Result<(), rocksdb::Error> {
                let mut options = rocksdb::WriteOptions::default();
                options.set_sync(sync);
                let mut number = first;
                while started.elapsed() < time {
                    let mut batch = rocksdb::WriteBatch::default();
                    let key = [writer.to_be_bytes(), number.to_be_bytes()].concat();
                    batch.put(key, noise(writer << 48 | number, VALUE_BYTES));
                    db.write_opt(batch, &options)?;
                    number += 1;
                    commits.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
    });
    commits.into_inner()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
