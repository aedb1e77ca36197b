//! `PUT /_matrix/federation/v1/send/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#transactions)).
//!
//! A server repeats a transaction until it has an answer. What was answered is kept for a while, and a repetition that
//! comes while the first is still being worked on waits for that one's answer; after a restart of this server, events
//! and messages to devices that it knows already are recognised by their ids.

use std::{collections::BTreeMap, fmt, sync::Arc};

use axum::extract::State;
use quick_cache::{Weighter, sync::Cache};
use ruma::{
    OwnedEventId, OwnedServerName, OwnedTransactionId,
    api::federation::transactions::send_transaction_message::v1 as send_transaction_message,
};
use wardroom_web::{ApiError, Reply, Routes};

use crate::{
    FederationState, Signed, TRANSACTION_BYTES_MAX, attestation, error::of_federation, signed::SignedRoutes as _,
};

/// Events of one transaction (specification, "Transactions").
const PDUS_MAX: usize = 50;
/// What else there is in one transaction (likewise).
const EDUS_MAX: usize = 100;
/// Longest transaction id, in bytes: it is kept.
const TRANSACTION_ID_BYTES_MAX: usize = 255;
/// Bytes of answers that are kept.
const ANSWERS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What an answer costs in memory besides its texts, about.
const ANSWER_OVERHEAD_BYTES: u64 = 200;
/// What the result of one event costs in memory besides its text, about.
const RESULT_OVERHEAD_BYTES: u64 = 100;

type Results = BTreeMap<OwnedEventId, Result<(), String>>;
type Key = (OwnedServerName, OwnedTransactionId);

#[derive(Clone)]
struct BySize;

impl Weighter<Key, Arc<Results>> for BySize {
    fn weight(&self, (origin, id): &Key, results: &Arc<Results>) -> u64 {
        let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX / 2);
        let results =
            results.values().map(|result| RESULT_OVERHEAD_BYTES + size(result.as_ref().err().map_or(0, String::len)));
        ANSWER_OVERHEAD_BYTES + size(origin.as_str().len() + id.as_str().len()) + results.sum::<u64>()
    }
}

/// Transactions that were answered lately, or are being worked on. Clones are cheap.
#[derive(Clone)]
pub struct Transactions(Arc<Cache<Key, Arc<Results>, BySize>>);

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("kept", &self.0.len()).finish()
    }
}

impl Default for Transactions {
    fn default() -> Self {
        let entries = usize::try_from(ANSWERS_BYTES_MAX / ANSWER_OVERHEAD_BYTES).unwrap_or(usize::MAX);
        Self(Arc::new(Cache::with_weighter(entries, ANSWERS_BYTES_MAX, BySize)))
    }
}

impl Transactions {
    /// The answer that was given, or what `work` comes to. Of those who ask at the same time, one works. A failure is
    /// not kept: the next one tries again.
    async fn once<E>(&self, key: Key, work: impl Future<Output = Result<Results, E>>) -> Result<Arc<Results>, E> {
        self.0.get_or_insert_async(&key, async { work.await.map(Arc::new) }).await
    }
}

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed_up_to(TRANSACTION_BYTES_MAX, send)
}

async fn send(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<send_transaction_message::Request>,
) -> Result<Reply<send_transaction_message::Response>, ApiError> {
    let send_transaction_message::Request { transaction_id, pdus, edus, .. } = request;
    if pdus.len() > PDUS_MAX {
        return Err(ApiError::invalid_param(format!("pdus: more than {PDUS_MAX}.")));
    }
    if edus.len() > EDUS_MAX {
        return Err(ApiError::invalid_param(format!("edus: more than {EDUS_MAX}.")));
    }
    if transaction_id.as_str().len() > TRANSACTION_ID_BYTES_MAX {
        return Err(ApiError::invalid_param(format!("txnId: longer than {TRANSACTION_ID_BYTES_MAX} bytes.")));
    }
    state.federation.outbox.heard_from(&origin);
    let work = async {
        attestation::revocations(&state, &origin, &edus).await?;
        // Neither waits for the other: what an event lacks may take long to fetch.
        let (results, taken) = futures_util::future::join(
            state.federation.ingest.receive_transaction(&origin, pdus),
            state.federation.edus.receive(&origin, edus),
        )
        .await;
        taken.map_err(of_federation)?;
        Ok::<_, ApiError>(results)
    };
    let results = state.transactions.once((origin.clone(), transaction_id), work).await?;
    Ok(Reply(send_transaction_message::Response::new((*results).clone())))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;
    use ruma::{event_id, server_name};
    use tokio::sync::Notify;

    use super::{ANSWERS_BYTES_MAX, Results, Transactions};

    fn results(error: &str) -> Results {
        [(event_id!("$a").to_owned(), Ok(())), (event_id!("$b").to_owned(), Err(error.to_owned()))].into()
    }

    #[tokio::test]
    async fn those_who_repeat_wait_for_the_first() {
        let (transactions, started, go_on) = (Transactions::default(), AtomicUsize::new(0), Notify::new());
        let key = || (server_name!("b.example").to_owned(), "1".into());
        let work = || async {
            started.fetch_add(1, Ordering::SeqCst);
            go_on.notified().await;
            Ok::<_, Infallible>(results("no"))
        };
        let all = join_all((0..5).map(|_| transactions.once(key(), work())));
        let release = async {
            tokio::task::yield_now().await;
            go_on.notify_one();
        };
        let (answers, ()) = futures_util::future::join(all, release).await;
        assert!(answers.into_iter().all(|answer| *answer.unwrap() == results("no")));
        assert_eq!(started.load(Ordering::SeqCst), 1);
        let other = (server_name!("c.example").to_owned(), "1".into());
        let answer = transactions.once(other, async { Ok::<_, Infallible>(Results::new()) }).await.unwrap();
        assert!(answer.is_empty(), "another server's transaction is another one");
    }

    #[tokio::test]
    async fn a_failure_is_tried_again() {
        let transactions = Transactions::default();
        let key = || (server_name!("b.example").to_owned(), "1".into());
        assert_eq!(transactions.once(key(), async { Err::<Results, _>("full") }).await.unwrap_err(), "full");
        transactions.once(key(), async { Ok::<_, &str>(results("no")) }).await.unwrap();
        transactions.once(key(), async { Err::<Results, _>("full") }).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let transactions = Transactions::default();
        let long = "x".repeat(100_000);
        for number in 0..200 {
            let key = (server_name!("b.example").to_owned(), number.to_string().into());
            transactions.once(key, async { Ok::<_, Infallible>(results(&long)) }).await.unwrap();
        }
        assert!(transactions.0.weight() <= ANSWERS_BYTES_MAX);
    }
}
