//! The audit trail: how it is opened, and who hears when it is not complete.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wardroom_audit::{Act, AuditError, AuditLog, Origin, Record, Who};
use wardroom_care::{Alarms, Care};
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_federation::{WitnessAlarm, WitnessAlarms};
use wardroom_store::Store;

use crate::config::Config;

/// The shortest time between two alarms about missing records.
const ALARM_PAUSE: Duration = Duration::from_secs(60);
/// How often it is tried to record that records are missing.
const GAP_PAUSE: Duration = Duration::from_secs(2);

/// The trail as the configuration wants it.
pub(crate) async fn open(config: &Config, store: &Store, clock: SharedClock) -> Result<AuditLog, AuditError> {
    AuditLog::open(store.clone(), clock, config.audit.settings(config.server_name.as_str())).await
}

/// Records that the trail and the server start.
pub(crate) async fn begin(audit: &AuditLog) -> Result<(), AuditError> {
    audit.begin().await?;
    audit.write(Record::of(Act::ServerStart)).await
}

/// Who acts where nobody signed in: whoever may start programs on this machine.
pub(crate) fn command_line() -> Origin {
    Origin { who: Who { service: Some("command line".to_owned()), ..Who::default() }, request: None }
}

/// Records what is done to a store while the server is stopped.
pub(crate) async fn by_command_line(config: &Config, store: &Store, act: Act) -> Result<AuditLog, AuditError> {
    let audit = open(config, store, Arc::new(SystemClock)).await?;
    audit.write(Record::by(act, command_line())).await?;
    Ok(audit)
}

/// Records that the certificates were read again, as whoever may send signals wanted it.
pub(crate) async fn note_reload(audit: AuditLog) {
    let record = Record::by(Act::ServerConfig, command_line()).detail("certificates");
    if let Err(error) = audit.write(record).await {
        warn!(%error, "that certificates were read again could not be recorded");
    }
}

/// Records that the server and the trail stop.
pub(crate) async fn end(audit: &AuditLog) {
    let ended = async {
        audit.write(Record::of(Act::ServerStop)).await?;
        audit.end().await
    };
    if let Err(error) = ended.await {
        warn!(%error, "the end could not be recorded");
    }
}

/// Raises an alarm when work went on without its record.
pub(crate) fn watch(audit: &AuditLog, care: &Care, stopping: &CancellationToken) {
    let missing = Arc::new(Notify::new());
    let tell = Arc::clone(&missing);
    audit.tell_missing(move || tell.notify_one());
    let (alarms, audit) = (care.alarms().clone(), audit.clone());
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move {
        loop {
            missing.notified().await;
            alarms.audit_incomplete().await;
            // Where nothing can be written, neither can this: it is told of when it can.
            while audit.record_gap().await.is_err() {
                tokio::time::sleep(GAP_PAUSE).await;
            }
            alarms.audit_incomplete().await;
            tokio::time::sleep(ALARM_PAUSE).await;
        }
    }));
}

/// Has the alarms tell what witnesses see.
#[derive(Debug)]
pub(crate) struct ByAlarms(pub(crate) Alarms);

impl WitnessAlarms for ByAlarms {
    fn tell<'a>(&'a self, alarm: WitnessAlarm<'a>) -> BoxFuture<'a, ()> {
        async move {
            match alarm {
                WitnessAlarm::Faulty(server, fault) => self.0.partner_trail_changed(server, &fault.to_string()).await,
                WitnessAlarm::WitnessKey(server) => self.0.witness_key_changed(server).await,
                WitnessAlarm::Unwitnessed => self.0.audit_unwitnessed().await,
                WitnessAlarm::WitnessedAgain => {
                    if let Err(error) = self.0.audit_witnessed().await {
                        warn!(%error, "an alarm that is over could not be taken away");
                    }
                }
            }
        }
        .boxed()
    }
}
