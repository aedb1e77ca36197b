//! Keys of other servers for those who cannot ask them, each document signed by this server too ([Querying keys through
//! another server][spec]).
//!
//! [spec]: https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ruma::{OwnedServerName, OwnedServerSigningKeyId, api::federation::discovery::ServerSigningKeys, serde::Raw};

use super::{PartnerError, Partners};

/// Servers whose keys may be asked for in one request.
pub const NOTARY_SERVERS_MAX: usize = 100;
/// Of these, whose keys are fetched at the same time.
const AT_ONCE: usize = 8;
/// How long an answer waits for documents that have to be fetched.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Keys of a server that somebody asks for.
#[derive(Clone, Debug)]
pub struct AskedKeys {
    /// The server.
    pub server: OwnedServerName,
    /// The keys that are wanted; all if none is named.
    pub key_ids: Vec<OwnedServerSigningKeyId>,
    /// Until when they should be valid, in milliseconds since 1970; `None` for now.
    pub minimum_valid_until_ts: Option<u64>,
}

impl Partners {
    /// The key documents of these servers, the newest that can be had, signed by this server too; for keys that are not
    /// in the newest, those that had them. Servers of which
    /// nothing is known and that do not answer are left out, as are those beyond [`NOTARY_SERVERS_MAX`].
    pub async fn key_documents(&self, asked: Vec<AskedKeys>) -> Vec<Raw<ServerSigningKeys>> {
        let now_ms = self.inner.clock.now_ms();
        let documents = stream::iter(asked.into_iter().take(NOTARY_SERVERS_MAX)).map(async |asked| {
            let at_ms = asked.minimum_valid_until_ts.unwrap_or(now_ms);
            if asked.server == self.own_name() {
                return self.key_document().into_iter().collect::<Vec<_>>();
            }
            let documents = self.documents_until(&asked.server, &asked.key_ids, at_ms).await.unwrap_or_default();
            documents.iter().filter_map(|document| self.inner.own_keys.sign(document).ok()).collect()
        });
        let mut documents = Box::pin(documents.buffer_unordered(AT_ONCE));
        let mut found = Vec::new();
        let collecting = async {
            while let Some(document) = documents.next().await {
                found.extend(document);
            }
        };
        // Whoever asks gets what is there; the rest is there when it asks again.
        let _ = tokio::time::timeout(TIMEOUT, collecting).await;
        drop(documents);
        found
    }

    async fn documents_until(
        &self,
        server: &OwnedServerName,
        key_ids: &[OwnedServerSigningKeyId],
        at_ms: u64,
    ) -> Result<Vec<Bytes>, PartnerError> {
        self.permit(server).await?;
        self.inner.keyring.documents_until(server, key_ids, at_ms).await
    }
}
