//! Whose audit trails are cosigned, and who cosigns this one.

use wardroom_federation::{Federation, Trails};

use super::text::{Kind, Text};

/// What is measured of a server.
type Measure = fn(&wardroom_federation::Trail) -> u64;

/// Adds the measurements.
pub(super) async fn write(text: &mut Text, federation: &Federation) {
    let Trails { watched, witnesses } = match federation.witness.trails().await {
        Ok(trails) => trails,
        Err(error) => {
            tracing::warn!(%error, "how witnessing fares could not be measured");
            return;
        }
    };
    let of_others: [(&str, &str, Measure); 4] = [
        ("wardroom_audit_watched_records", "Records of a partner's audit trail that this server cosigned.", |one| {
            one.records
        }),
        ("wardroom_audit_watched_seconds", "When it did last, since 1970; 0 for never.", |one| one.cosigned_ms / 1_000),
        ("wardroom_audit_watched_failures", "Failures in a row to ask for it.", |one| one.failures),
        ("wardroom_audit_watched_fault", "1 where the trail is not what it was.", |one| u64::from(one.is_faulty)),
    ];
    let of_this: [(&str, &str, Measure); 2] = [
        ("wardroom_audit_cosigned_records", "Records of this server's audit trail that a partner cosigned.", |one| {
            one.records
        }),
        ("wardroom_audit_cosigned_seconds", "When it did last, since 1970; 0 for never.", |one| {
            one.cosigned_ms / 1_000
        }),
    ];
    let all = of_others.iter().map(|row| (row, &watched)).chain(of_this.iter().map(|row| (row, &witnesses)));
    for ((name, help, value), trails) in all.filter(|(_, trails)| !trails.is_empty()) {
        text.family(name, Kind::Gauge, help);
        for trail in trails {
            text.sample(name, &[("server", trail.server.as_str())], value(trail));
        }
    }
}
