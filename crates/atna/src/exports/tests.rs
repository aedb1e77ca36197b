use std::sync::Arc;

use wardroom_audit::{Act, AuditLog, AuditSettings, Record};
use wardroom_clock::{Clock as _, ManualClock};
use wardroom_store::{Catalogue, Store};

use super::{EXPORT_LIFE_MS, EXPORTS_PER_USER_MAX, ExportError, ExportRequest, Exports};

const NOW_MS: u64 = 1_700_000_000_000;

struct Stage {
    store: Store,
    clock: Arc<ManualClock>,
    trail: AuditLog,
}

impl Stage {
    async fn with(records: u64) -> Self {
        let store = Store::in_memory(Catalogue::new(&[wardroom_audit::TABLES, crate::TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let trail = AuditLog::open(store.clone(), clock.clone(), AuditSettings::default()).await.unwrap();
        let stage = Self { store, clock, trail };
        for number in 0..records {
            let act = if number % 3 == 0 { Act::Login } else { Act::RoomRead };
            stage.trail.write(Record::of(act).count(number)).await.unwrap();
            stage.clock.advance_ms(1_000);
        }
        stage
    }

    /// As a server that was started anew.
    fn exports(&self) -> Exports {
        Exports::new(self.store.clone(), self.clock.clone(), self.trail.clone())
    }
}

fn request(owner: &str) -> ExportRequest {
    ExportRequest { owner: owner.to_owned(), ..ExportRequest::default() }
}

async fn counts(exports: &Exports, owner: &str, id: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for index in 0.. {
        let Some((file, mut reader)) = exports.read(owner, id, index).await.unwrap() else { break };
        let before = found.len();
        while let Some(entries) = reader.next().await.unwrap() {
            found.extend(entries.into_iter().map(|entry| entry.record.on.count.unwrap()));
        }
        assert_eq!((found.len() - before) as u64, file.count);
    }
    found
}

#[tokio::test]
async fn an_export_has_what_was_there_when_it_began_and_outlives_the_server() {
    let stage = Stage::with(1_200).await;
    let id = stage.exports().begin(request("@a")).await.unwrap();
    stage.trail.write(Record::of(Act::Login).count(9_999)).await.unwrap();
    let exports = stage.exports();
    let status = exports.status("@a", &id).await.unwrap().unwrap();
    assert_eq!((status.done, status.of, status.is_complete()), (0, 1_200, false));
    assert!(exports.read("@a", &id, 0).await.unwrap().is_none(), "not before it is complete");
    while exports.step_all().await.unwrap() {}
    let status = stage.exports().status("@a", &id).await.unwrap().unwrap();
    assert!(status.is_complete());
    assert_eq!(counts(&stage.exports(), "@a", &id).await, (0..1_200).collect::<Vec<_>>());
    assert!(exports.status("@b", &id).await.unwrap().is_none(), "it is nobody else's");
    assert!(exports.read("@b", &id, 0).await.unwrap().is_none());
}

#[tokio::test]
async fn conditions_hold_for_every_file() {
    let stage = Stage::with(100).await;
    let since_ms = Some(NOW_MS + 50_000);
    let parameter = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let any_of = vec![parameter("subtype", "110122"), parameter("outcome", "8")];
    let exports = stage.exports();
    let id = exports.begin(ExportRequest { since_ms, any_of, ..request("@a") }).await.unwrap();
    while exports.step_all().await.unwrap() {}
    let expected: Vec<u64> = (50..100).filter(|number| number % 3 == 0).collect();
    assert_eq!(counts(&exports, "@a", &id).await, expected);
    let none = exports.begin(ExportRequest { since_ms: Some(u64::MAX), ..request("@a") }).await.unwrap();
    while exports.step_all().await.unwrap() {}
    let status = exports.status("@a", &none).await.unwrap().unwrap();
    assert!(status.is_complete() && status.files.is_empty());
}

#[tokio::test]
async fn there_are_so_many_and_they_end() {
    let stage = Stage::with(3).await;
    let exports = stage.exports();
    let mut ids = Vec::new();
    for _ in 0..EXPORTS_PER_USER_MAX {
        ids.push(exports.begin(request("@a")).await.unwrap());
    }
    assert!(matches!(exports.begin(request("@a")).await, Err(ExportError::TooMany)));
    exports.begin(request("@b")).await.unwrap();
    assert!(!exports.delete("@b", &ids[0]).await.unwrap());
    assert!(exports.delete("@a", &ids[0]).await.unwrap());
    assert!(!exports.delete("@a", &ids[0]).await.unwrap());
    exports.begin(request("@a")).await.unwrap();
    stage.clock.advance_ms(EXPORT_LIFE_MS);
    assert!(stage.clock.now_ms() > NOW_MS);
    assert!(exports.status("@a", &ids[1]).await.unwrap().is_none());
    assert!(!exports.step_all().await.unwrap());
    assert!(exports.rows().await.unwrap().is_empty());
    let long = ExportRequest { request: "x".repeat(20_000), ..request("@a") };
    assert!(matches!(exports.begin(long).await, Err(ExportError::TooLong)));
    for nothing in ["", "x", &"g".repeat(32), &"0".repeat(33)] {
        assert!(exports.status("@a", nothing).await.unwrap().is_none());
    }
}
