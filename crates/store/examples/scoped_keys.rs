//! What many scoped keys cost: making them at midnight, opening a store that has them, destroying some.
//!
//! ```text
//! cargo run --release -p wardroom-store --example scoped_keys -- [keys] [directory]
//! ```
#![expect(clippy::print_stdout, reason = "prints measurements")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use wardroom_store::{Catalogue, KEYS_DIR, MasterKey, Options, Scope, Store};

type Failure = Box<dyn Error + Send + Sync>;

/// Rooms that need a key at the same time.
const ROOMS: u64 = 10_000;
/// What a room's key is for.
const ROOM_DAY: u8 = 1;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |keys| keys.parse())?;
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(dir.path(), keys))
}

async fn measure(dir: &Path, keys: u64) -> Result<(), Failure> {
    let master = MasterKey::generate();
    let open =
        || async { Store::open(dir, &master, Catalogue::new(&[])?, Options::default()).await.map_err(Failure::from) };
    let store = open().await?;
    let days = keys.div_ceil(ROOMS);
    let started = Instant::now();
    let mut last = started;
    for day in 0..days {
        last = Instant::now();
        midnight(&store, day).await?;
    }
    println!("{} keys made in {:.1?}, the last {ROOMS} in {:.0?}", days * ROOMS, started.elapsed(), last.elapsed());
    store.close().await;
    println!("{} MiB on disk", bytes(&dir.join(KEYS_DIR))? >> 20);

    let started = Instant::now();
    let store = open().await?;
    println!("opened in {:.0?}", started.elapsed());
    let started = Instant::now();
    for room in 0..1_000 {
        store.data_key(Scope { kind: ROOM_DAY, a: room * 7, b: room % days }).await?;
    }
    println!("1000 keys looked up in {:.0?}", started.elapsed());

    let day: Vec<_> = (0..ROOMS).map(|room| Scope { kind: ROOM_DAY, a: room, b: 0 }).collect();
    let started = Instant::now();
    store.destroy_data_keys(&day).await?;
    println!("a day of {ROOMS} rooms destroyed in {:.0?}", started.elapsed());
    let started = Instant::now();
    store.destroy_data_keys(&[Scope { kind: ROOM_DAY, a: 1, b: 1 }]).await?;
    println!("one key destroyed in {:.0?}", started.elapsed());
    let started = Instant::now();
    store.destroy_data_keys_of(&[ROOM_DAY], 2).await?;
    println!("a room of {days} days destroyed in {:.0?}", started.elapsed());
    store.close().await;
    Ok(())
}

/// Every room asks for the key of a new day.
async fn midnight(store: &Store, day: u64) -> Result<(), Failure> {
    let asking = (0..ROOMS).map(|room| {
        let store = store.clone();
        tokio::spawn(async move { store.data_key(Scope { kind: ROOM_DAY, a: room, b: day }).await.map(drop) })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await??;
    }
    Ok(())
}

fn bytes(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        sum += if path.is_dir() { bytes(&path)? } else { std::fs::metadata(path)?.len() };
    }
    Ok(sum)
}
