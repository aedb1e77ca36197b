//! What other servers are asked of their users, and what of it is believed.

use std::time::Duration;

use ruma::{RoomId, UserId};
use tokio::time::timeout;
use wardroom_audit::{Act, Outcome, Record};
use wardroom_rooms::RoomView;
use wardroom_store::{Batch, Packed, Scan};

use super::{
    Attestations, Unheard,
    errands::Errand,
    word::{About, Word},
};
use crate::{
    CareError,
    gate::policy_of,
    policy::{AccessPolicy, RoomPolicy},
    roles::{Binding, Said, Source},
    tables::WORDS,
};

/// How long a server may take: somebody waits at the door.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long somebody waits at the door, the turn of others included.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// How long a server is not asked again about a user in a room, in milliseconds.
const LATELY_MS: u64 = 60 * 1_000;
/// Domains of the hashes by which words are told from each other.
const JTI_DOMAIN: u8 = 0x61;
const WORD_DOMAIN: u8 = 0x62;
/// Rows dropped at once.
const ROWS_MAX: usize = 1_000;

impl Attestations {
    /// Whether a user's server may vouch for what they lack in a room.
    fn may_help(&self, user: &UserId, policy: &AccessPolicy) -> bool {
        let server = user.server_name();
        server != self.0.judge.server() && policy.names(server) && !self.0.judge.meets(user, policy)
    }

    /// Asks the server of somebody who wants into a room and lacks what it requires, where that server may vouch for it.
    /// Ends within seconds.
    pub(crate) async fn prepare(&self, user: &UserId, room: &RoomView) {
        let Some(RoomPolicy::Known(policy)) = policy_of(room) else { return };
        // Where another server decides, nothing has to be known here.
        if policy.elsewhere || !self.may_help(user, policy) {
            return;
        }
        let asked = timeout(WAIT_MAX, self.hear(user, &room.id, || !self.may_help(user, policy))).await;
        if let Ok(Err(error)) = asked {
            tracing::info!(server = %user.server_name(), %error, "nothing was heard of a user's roles");
        }
    }

    /// Whether the server of somebody who lacks what their room requires has to be asked before they are put out. Then it
    /// is asked, and they are looked at again.
    pub(crate) fn asks_first(&self, user: &UserId, room: &RoomView, policy: &AccessPolicy) -> bool {
        if self.0.attesters.get().is_none() || !self.may_help(user, policy) || self.was_asked(user, &room.id) {
            return false;
        }
        self.0.errands.add(user, Errand::First(room.id.clone()));
        true
    }

    fn was_asked(&self, user: &UserId, room: &RoomId) -> bool {
        let until_ms = self.0.lately.peek(&(user.to_owned(), room.to_owned()));
        until_ms.is_some_and(|until_ms| until_ms > self.0.clock.now_ms())
    }

    /// Asks a user's server about them, unless `enough` is known by then or it was asked lately.
    pub(super) async fn hear(&self, user: &UserId, room: &RoomId, enough: impl Fn() -> bool) -> Result<(), Unheard> {
        let _turn = self.0.asking.take(user).await;
        if enough() || self.was_asked(user, room) {
            return Ok(());
        }
        self.ask(user, room).await
    }

    /// Asks a user's server about them, although it was asked lately.
    pub(super) async fn hear_again(&self, user: &UserId, room: &RoomId) -> Result<(), Unheard> {
        let _turn = self.0.asking.take(user).await;
        self.ask(user, room).await
    }

    async fn ask(&self, user: &UserId, room: &RoomId) -> Result<(), Unheard> {
        let unreachable = |sentence: &str| Unheard::Unreachable(sentence.to_owned());
        let attesters = self.0.attesters.get().ok_or_else(|| unreachable("this server speaks to nobody"))?;
        let answer = timeout(ANSWER_MAX, attesters.ask(user, room)).await;
        let answer = answer.unwrap_or_else(|_| Err(unreachable("it took too long")));
        let taken = match answer {
            Ok(json) => {
                let taken = self.take(user, room, &json).await;
                self.record_taken(user, room, &taken).await;
                taken
            }
            Err(error) => Err(error),
        };
        let until_ms = self.0.clock.now_ms().saturating_add(LATELY_MS);
        self.0.lately.insert((user.to_owned(), room.to_owned()), until_ms);
        taken
    }

    /// Records that a server said something of its user, and whether it was believed. What changed by it is recorded with
    /// the change.
    async fn record_taken(&self, user: &UserId, room: &RoomId, taken: &Result<(), Unheard>) {
        let outcome = match taken {
            Ok(()) => Outcome::Success,
            Err(Unheard::Untrustworthy(_)) => Outcome::Serious,
            Err(Unheard::Refused | Unheard::Unreachable(_)) => return,
        };
        let record = Record::of(Act::FederationReceive).detail("attestation").room(room.as_str()).user(user.as_str());
        let record = record.servers(vec![user.server_name().to_string()]).outcome(outcome);
        if let Err(error) = self.0.judge.roles().audit().write(record).await {
            tracing::warn!(%error, "what a server said of a user's roles could not be recorded");
        }
    }

    /// Believes what a server said of its user, where it is right.
    async fn take(&self, user: &UserId, room: &RoomId, json: &[u8]) -> Result<(), Unheard> {
        let now_ms = self.0.clock.now_ms();
        let about = About { user, room, told_to: self.0.judge.server(), now_ms };
        let word = Word::read(json, about).map_err(Unheard::Untrustworthy)?;
        let failed = |error: CareError| Unheard::Unreachable(format!("this server failed: {error}"));
        if !self.is_one_word(user, &word, json).await.map_err(failed)? {
            return Err(Unheard::Untrustworthy("jti: was that of another word".to_owned()));
        }
        let binding = |role| Binding {
            role,
            from_ms: None,
            until_ms: Some(word.until_ms),
            reason: String::new(),
            set_by: user.server_name().to_string(),
            set_ms: word.said_ms,
        };
        let said = Said { active: None, bindings: word.roles.iter().cloned().map(binding).collect() };
        if self.0.judge.roles().say(user, Source::Attestation, said).await.map_err(failed)? {
            self.0.errands.wake();
        }
        Ok(())
    }

    /// Whether no other word of that server has this one's id. It is remembered as long as the word is good.
    async fn is_one_word(&self, user: &UserId, word: &Word, json: &[u8]) -> Result<bool, CareError> {
        let store = &self.0.store;
        let named = format!("{}\n{}", user.server_name(), word.jti);
        let key = store.keyed_hash(JTI_DOMAIN, named.as_bytes());
        let hash = store.keyed_hash(WORD_DOMAIN, json);
        match store.latest().get(&WORDS, &key).await? {
            Some(Packed((before, _))) => Ok(before == hash),
            None => {
                let mut batch = Batch::default();
                batch.expect_absent(&WORDS, &key);
                batch.put(&WORDS, &key, &Packed((hash, word.until_ms)));
                match store.commit(batch).await {
                    Ok(_) => Ok(true),
                    // Of two words with one id that come at the same time, none is believed.
                    Err(wardroom_store::CommitError::Conflict { .. }) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Forgets words that are not good any more.
    pub(super) async fn forget_words(&self) -> Result<(), CareError> {
        let (store, now_ms, mut scan) = (&self.0.store, self.0.clock.now_ms(), Scan::all());
        loop {
            let rows = store.latest().scan(&WORDS, scan.limit(ROWS_MAX)).await?;
            let mut batch = Batch::default();
            for (key, Packed((_, until_ms))) in &rows {
                if *until_ms <= now_ms {
                    batch.delete(&WORDS, key);
                }
            }
            if !batch.is_empty() {
                store.commit(batch).await?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_MAX => scan = Scan::all().after(last),
                _ => return Ok(()),
            }
        }
    }
}
