//! How fast records of the audit trail are made into FHIR resources and syslog messages, on a real store: counting what is in
//! the files of an export, and reading those.
//!
//! `cargo run --release -p wardroom-atna --example export_speed -- [records]`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{error::Error, sync::Arc, time::Instant};

use wardroom_atna::{AuditEvent, ExportRequest, Exports, syslog_message};
use wardroom_audit::{Act, AuditLog, AuditSettings, Origin, Record, Who};
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

const SERVER: &str = "hospital-a.example";
/// Records of one commit.
const AT_ONCE: u64 = 1_000;

fn record(number: u64) -> Record {
    let who = Who {
        device: Some(format!("DEVICE{}", number % 500)),
        ip: Some("192.0.2.7".to_owned()),
        user: Some(format!("@user{}:hospital-a.example", number % 500)),
        ..Who::default()
    };
    let record = Record::by(Act::RoomRead, Origin { who, request: Some(format!("5f3a{number:08x}-{number}")) });
    let event = || format!("$QlcPiPMVVzaGTVFnXkCeOYdHEGMNQd1Ls{number:010}");
    record
        .room(format!("!ward{}:hospital-a.example", number % 100))
        .event(event())
        .last(event())
        .count(3)
        .detail("sync")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let records: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::new(&[wardroom_audit::TABLES, wardroom_atna::TABLES])?;
    let store = Store::open(dir.path(), &MasterKey::generate(), catalogue, Options::default()).await?;
    let clock: SharedClock = Arc::new(SystemClock);
    let trail = AuditLog::open(store.clone(), Arc::clone(&clock), AuditSettings::default()).await?;
    for first in (0..records).step_by(usize::try_from(AT_ONCE)?) {
        let mut batch = Batch::default();
        for number in first..records.min(first.saturating_add(AT_ONCE)) {
            trail.add(&mut batch, record(number));
        }
        store.commit(batch).await?;
    }
    trail.catch_up().await?;
    let rate = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        println!("{what:<44} {:>9.0} records/s", f64::from(u32::try_from(records).unwrap_or(u32::MAX)) / seconds);
    };
    let exports = Exports::new(store.clone(), clock, trail);
    let started = Instant::now();
    let id = exports.begin(ExportRequest { owner: "@admin".to_owned(), ..ExportRequest::default() }).await?;
    let work = exports.clone();
    let work = tokio::spawn(async move { work.run().await });
    while !exports.status("@admin", &id).await?.is_some_and(|status| status.is_complete()) {
        tokio::task::yield_now().await;
    }
    work.abort();
    rate("counted for the files of an export", started);
    for (what, syslog) in [("read as FHIR AuditEvent", false), ("read as DICOM over syslog", true)] {
        let (started, mut bytes, mut file) = (Instant::now(), 0_usize, 0_usize);
        while let Some((_, mut reader)) = exports.read("@admin", &id, file).await? {
            file += 1;
            while let Some(entries) = reader.next().await? {
                bytes += entries
                    .iter()
                    .map(|entry| match syslog {
                        true => syslog_message(&entry.record, SERVER).len(),
                        false => AuditEvent::of(&entry.record, SERVER).to_json().len(),
                    })
                    .sum::<usize>();
            }
        }
        rate(what, started);
        println!("{:<44} {:>9} bytes each", "", bytes / usize::try_from(records.max(1))?);
    }
    Ok(())
}
