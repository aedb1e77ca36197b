//! Waiting for something to tell.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use wardroom_accounts::Session;
use wardroom_rooms::UserNid;

use crate::{
    FilterChoice, SyncError, SyncResponse, SyncToken, Syncer,
    filter::Filter,
    hearing::{Hearing, Look, Span},
    memberships::Known,
};

/// How long a request may wait.
const TIMEOUT_MAX: Duration = Duration::from_mins(10);

/// What a client asks of a sync.
///
/// [`GET /_matrix/client/v3/sync`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync).
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// Up to where the client was told already.
    pub since: Option<SyncToken>,
    /// What it wants to hear.
    pub filter: Option<FilterChoice>,
    /// The whole state of each room, news or not.
    pub full_state: bool,
    /// The state at the end of each timeline (`use_state_after`) instead of the one before it.
    pub state_after: bool,
    /// How long to wait where there is no news.
    pub timeout: Duration,
}

impl Syncer {
    /// Tells a device what is news to it; waits for news where there is none and the client wants to wait, until
    /// `stopping` resolves.
    pub async fn sync(
        &self,
        session: &Session,
        request: SyncRequest,
        stopping: impl Future<Output = ()> + Send,
    ) -> Result<SyncResponse, SyncError> {
        let syncer = &*self.0;
        let filter = Filter::find(&syncer.accounts, session.nid, request.filter).await?;
        let hearing = Hearing {
            syncer,
            session,
            user: UserNid::new(session.nid.get()),
            filter: &filter,
            full_state: request.full_state,
            state_after: request.state_after,
            now_ms: syncer.clock.now_ms(),
            ignored: syncer.accounts.ignored_users(session.nid).await?,
        };
        let since = request.since;
        if let Some(since) = since {
            hearing.forget_delivered(since.at_most(syncer.store.position()).to_device()).await?;
        }
        let look = hearing.look(since).await?;
        // Who starts anew gets an answer at once, if it is that there is nothing.
        let waits = since.is_some() && !request.full_state && !request.timeout.is_zero();
        if !waits || !look.body.is_empty() {
            return hearing.answer(look, since).await;
        }
        let heard = look.token();
        let deadline = Instant::now() + request.timeout.min(TIMEOUT_MAX);
        tokio::select! {
            biased;
            told = hearing.clone().wait(since, heard, Arc::clone(&look.known), deadline) => told,
            () = stopping => hearing.answer(look, since).await,
        }
    }
}

impl Hearing<'_> {
    /// The answer: what a look found, the presence that goes with whatever else is told, and what each answer says of
    /// the device's keys.
    async fn answer(&self, look: Look, since: Option<SyncToken>) -> Result<SyncResponse, SyncError> {
        let next_batch = look.token();
        let Look { now, known, mut body, came, .. } = look;
        let span = Span { since: since.map(|since| since.position().min(now)), now };
        body.presence = self.presence_news(span, &known, &came).await?;
        Ok(body.end(next_batch, &self.key_counts().await?))
    }

    /// Waits for news behind `heard`.
    ///
    /// What was looked at and is not told (because the filter does not want it, say) is not looked at again.
    async fn wait(
        mut self,
        since: Option<SyncToken>,
        mut heard: SyncToken,
        mut known: Arc<Known>,
        deadline: Instant,
    ) -> Result<SyncResponse, SyncError> {
        loop {
            // First listen, then look: what comes in between is not missed.
            let mut waiter = self.syncer.store.watches().waiter(self.watched(&known).await?);
            loop {
                self.now_ms = self.syncer.clock.now_ms();
                self.ignored = self.syncer.accounts.ignored_users(self.session.nid).await?;
                let look = self.look(Some(heard)).await?;
                heard = look.token();
                if !look.body.is_empty() {
                    return self.answer(look, since).await;
                }
                if !Arc::ptr_eq(&known, &look.known) && known.entries != look.known.entries {
                    // The rooms to listen to may be others.
                    known = look.known;
                    break;
                }
                if timeout_at(deadline, waiter.changed()).await.is_err() {
                    return self.answer(look, since).await;
                }
            }
        }
    }
}
