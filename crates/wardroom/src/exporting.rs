//! The audit trail for other systems, as the configuration wants it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wardroom_accounts::Accounts;
use wardroom_atna::{Exports, Feeds};
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_fhir_api::FhirState;
use wardroom_store::Store;
use wardroom_web::RateLimits;

use crate::{config::Config, wiring::StartError};

/// What tells others of the trail.
#[derive(Clone, Debug)]
pub(crate) struct Exporting {
    /// The FHIR API.
    pub(crate) fhir: FhirState,
    /// Repositories that follow the trail.
    pub(crate) feeds: Feeds,
}

impl Exporting {
    /// Builds both.
    pub(crate) fn new(
        config: &Config,
        (store, clock): (&Store, &SharedClock),
        (accounts, audit): (&Accounts, &AuditLog),
        limits: &Arc<RateLimits>,
    ) -> Result<Self, StartError> {
        let destinations = config.audit_export.feeds().map_err(StartError::AuditExport)?;
        let name = config.server_name.as_str();
        let feeds = Feeds::new(store.clone(), Arc::clone(clock), audit.clone(), name, destinations)?;
        let fhir = FhirState {
            accounts: accounts.clone(),
            audit: audit.clone(),
            exports: Exports::new(store.clone(), Arc::clone(clock), audit.clone()),
            limits: Arc::clone(limits),
            server_name: name.into(),
            base_url: config.audit_export.fhir_url(&config.public_url()).into(),
        };
        Ok(Self { fhir, feeds })
    }

    /// Starts what runs as long as the server does.
    pub(crate) fn start(&self, stopping: &CancellationToken) {
        let (exports, feeds) = (self.fhir.exports.clone(), self.feeds.clone());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { exports.run().await }));
        tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { feeds.run().await }));
    }
}
