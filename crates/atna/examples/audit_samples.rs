//! Prints, for each act of the audit trail, a record with everything, one with next to nothing and one of each outcome: as FHIR
//! `AuditEvent` (`fhir`), as syslog messages in frames (`syslog`), or their ids, acts and outcomes (`index`). Validators of others
//! are run on that.

use std::io::{self, Write as _};

use wardroom_atna::{AuditEvent, syslog_message};
use wardroom_audit::{Act, Origin, Outcome, Record, Who};

const SERVER: &str = "hospital-a.example";

/// The number of a day in November 2026, in milliseconds since 1970.
const AT_MS: u64 = 1_795_392_000_123;

fn full(act: Act) -> Record {
    let text = |text: &str| Some(text.to_owned());
    let who = Who {
        on_behalf_of: text("@maria:hospital-a.example"),
        device: text("DEVICE"),
        ip: text("192.0.2.7"),
        server: None,
        service: None,
        subject: text("248289761001"),
        user: text("@nadia/é:hospital-a.example"),
    };
    let record = Record::by(act, Origin { who, request: text("5f3a-17") });
    let record = record.room("!ward7:hospital-a.example").event("$first").last("$last").kind("ETREAT").count(3);
    let record = record.user("@colin:hospital-a.example").device("OTHER").name("01J").detail("GET /rooms/{room_id}");
    let record =
        record.query("q=\"a\"&b=<c>\u{1}").old("00ff").new("ff00").servers(vec!["hospital-b.example".to_owned()]);
    let record = if matches!(act, Act::MediaRead | Act::MediaCreate | Act::MediaDelete) {
        record.media("mxc://hospital-a.example/abc")
    } else {
        record
    };
    record.why("because & <so>").outcome(Outcome::Success)
}

/// As the server writes it of a client's request: the patterns of BALP hold.
fn usual(act: Act) -> Record {
    let text = |text: &str| Some(text.to_owned());
    let who = Who {
        device: text("DEVICE"),
        ip: text("2001:db8::7"),
        user: text("@nadia:hospital-a.example"),
        ..Who::default()
    };
    let record = Record::by(act, Origin { who, request: text("5f3a-18") });
    match act {
        Act::Search | Act::Directory | Act::Hierarchy => {
            record.query("{\"search_term\":\"x\"}").room("!ward7:hospital-a.example")
        }
        Act::MediaRead | Act::MediaCreate | Act::MediaDelete => record.media("mxc://hospital-a.example/abc"),
        _ => record.room("!ward7:hospital-a.example").event("$e"),
    }
}

/// Every record of an act, with ids from this number on.
fn samples(act: Act, number: &mut u64) -> Vec<Record> {
    let failed = [Outcome::Minor, Outcome::Serious, Outcome::Major];
    let failed = failed.map(|outcome| usual(act).outcome(outcome).why("no role"));
    let good = [full(act), usual(act), Record::by(act, Origin::default())];
    let numbered = |record| {
        *number += 1;
        Record { at: AT_MS, id: format!("01KAS{number:021}"), ..record }
    };
    good.into_iter().chain(failed).map(numbered).collect()
}

fn main() -> io::Result<()> {
    let form = std::env::args().nth(1);
    let mut out = io::stdout().lock();
    let mut number = 0_u64;
    for record in Act::ALL.iter().flat_map(|act| samples(*act, &mut number)) {
        match form.as_deref() {
            Some("syslog") => {
                let message = syslog_message(&record, SERVER);
                write!(out, "{} {message}", message.len())?;
            }
            Some("index") => writeln!(out, "{} {} {}", record.id, record.act, u8::from(record.outcome))?,
            _ => writeln!(out, "{}", AuditEvent::of(&record, SERVER).to_json())?,
        }
    }
    Ok(())
}
