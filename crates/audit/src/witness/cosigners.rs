//! This server's trail, as others saw it.

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Packed, Scan};

use super::{COSIGNATURES, COSIGNERS, Cosignature, SHOWN_BYTES_MAX, Shown, Untold, tables::CosignatureRow, witness_of};
use crate::{
    Act, AuditLog, KeyKind, Note, NoteKey, Outcome, Record, error::AuditError, log::Inner, tables::CHECKPOINTS,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Witnesses that are told of at most.
const COSIGNERS_MAX: usize = 1_000;
/// Cosignatures that are read at a time.
const COSIGNATURES_AT_ONCE: usize = 10_000;
/// Keys that a witness had before, which are kept.
const PAST_KEYS_MAX: usize = 20;

/// A server that watches this one's trail. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigner {
    /// Its name.
    pub server: String,
    /// The key that it cosigns with, since it was seen first.
    pub key: Option<String>,
    /// Keys that it cosigned with before.
    pub past_keys: Vec<String>,
    /// Since when it is expected to cosign.
    pub since_ms: u64,
    /// Records of the largest checkpoint that it cosigned.
    pub size: u64,
    /// When its newest cosignature came; none yet where this is 0.
    pub at_ms: u64,
    untold: Untold,
}

/// What became of a cosignature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept.
    Kept,
    /// Another key made it than before, which is none of the configuration's either.
    KeyChanged,
    /// It is none.
    Refused(&'static str),
}

impl AuditLog {
    /// What is shown to a witness that cosigned the trail when it had `from` records; none before the first checkpoint.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn show(&self, from: Option<u64>) -> Result<Option<Shown>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(None) };
        let newest = inner.store.latest().scan(&CHECKPOINTS, Scan::all().reverse().limit(1)).await?;
        let Some((size, checkpoint)) = newest.into_iter().next() else { return Ok(None) };
        // A witness that saw more records than there are learns it from the checkpoint.
        let proof = match from.filter(|from| *from < size) {
            Some(from) => self.consistency(from, size).await?,
            None => Vec::new(),
        };
        let proof = proof.iter().map(|hash| STANDARD.encode(hash)).collect();
        Ok(Some(Shown { key: inner.signer.key().to_string(), checkpoint, proof }))
    }

    /// Keeps what a server says that it saw, if it is signed by the key of the configuration or by the one that was seen
    /// first. The same once more is well.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_cosignature(
        &self,
        server: &str,
        said: &Cosignature,
        key: Option<&NoteKey>,
    ) -> Result<Taken, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Taken::Refused("size: there is no such checkpoint")) };
        let _alone = inner.witnessing.lock().await;
        let by = match key_of(server, said) {
            Ok(by) => by,
            Err(why) => return Ok(Taken::Refused(why)),
        };
        let mut cosigner = inner.cosigner(server).await?;
        let known = key.map(ToString::to_string).or_else(|| cosigner.key.clone());
        if known.as_ref().is_some_and(|known| *known != said.key) {
            return Ok(Taken::KeyChanged);
        }
        let Some(note) = inner.store.latest().get(&CHECKPOINTS, &said.size).await? else {
            return Ok(Taken::Refused("size: there is no such checkpoint"));
        };
        let Some(seconds) = seconds_of(&note, said, &by) else {
            return Ok(Taken::Refused("cosignature: the key did not make it for this checkpoint"));
        };
        let (now_ms, mut batch) = (inner.now_ms(), Batch::default());
        inner.turn_key().await?;
        if cosigner.key.as_ref() != Some(&said.key) {
            let id = format!("{:08x}", u32::from_be_bytes(by.id()));
            let record = Record::of(Act::AuditPin).servers(vec![server.to_owned()]).detail("witness").name(id);
            inner.add(&mut batch, record);
            cosigner.change_key(Some(said.key.clone()));
        }
        if let Some((count, since_ms)) = cosigner.untold.count(now_ms) {
            let record = Record::of(Act::AuditCosign).servers(vec![server.to_owned()]).detail("received");
            inner.add(&mut batch, record.count(count).between(since_ms, now_ms));
        }
        (cosigner.size, cosigner.at_ms) = (cosigner.size.max(said.size), now_ms);
        let hash = inner.server_hash(server);
        let row = CosignatureRow { server: server.to_owned(), line: said.cosignature.clone(), seconds, at_ms: now_ms };
        batch.put(&COSIGNATURES, &(said.size, hash), &Packed(row));
        batch.put(&COSIGNERS, &hash, &Packed(cosigner));
        inner.store.commit(batch).await?;
        Ok(Taken::Kept)
    }

    /// Records that a server was refused to take part as a witness.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub async fn refuse_witness(&self, server: &str) -> Result<(), AuditError> {
        let record = Record::of(Act::AuditFault).servers(vec![server.to_owned()]).detail("witness refused");
        self.denied(record.outcome(Outcome::Serious)).await
    }

    /// Notes from when on these servers are expected to cosign, if that is not known yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expect_witnesses(&self, servers: &[&str]) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let _alone = inner.witnessing.lock().await;
        let mut batch = Batch::default();
        for server in servers {
            let mut cosigner = inner.cosigner(server).await?;
            if cosigner.since_ms == 0 {
                cosigner.since_ms = inner.now_ms();
                batch.put(&COSIGNERS, &inner.server_hash(server), &Packed(cosigner));
            }
        }
        if !batch.is_empty() {
            inner.store.commit(batch).await?;
        }
        Ok(())
    }

    /// For how many milliseconds none of these servers has cosigned; 0 where none is expected to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unwitnessed_ms(&self, servers: &[&str]) -> Result<u64, AuditError> {
        let Some(inner) = self.inner() else { return Ok(0) };
        let mut last_ms = None::<u64>;
        for server in servers {
            let Cosigner { since_ms, at_ms, .. } = inner.cosigner(server).await?;
            last_ms = last_ms.max(Some(if since_ms == 0 { inner.now_ms() } else { since_ms.max(at_ms) }));
        }
        Ok(last_ms.map_or(0, |last_ms| inner.now_ms().saturating_sub(last_ms)))
    }

    /// Servers that cosigned this trail, or are expected to, by their names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cosigners(&self) -> Result<Vec<Cosigner>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let rows = inner.store.latest().scan(&COSIGNERS, Scan::all().limit(COSIGNERS_MAX)).await?;
        let mut cosigners: Vec<Cosigner> = rows.into_iter().map(|(_, Packed(cosigner))| cosigner).collect();
        cosigners.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(cosigners)
    }

    /// Forgets the key that a witness cosigns with: the next one is believed. Says whether it had one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_witness_key(&self, server: &str, reason: &str) -> Result<bool, AuditError> {
        let Some(inner) = self.inner() else { return Ok(false) };
        let _alone = inner.witnessing.lock().await;
        let mut cosigner = inner.cosigner(server).await?;
        if cosigner.key.is_none() {
            return Ok(false);
        }
        cosigner.change_key(None);
        let mut batch = Batch::default();
        batch.put(&COSIGNERS, &inner.server_hash(server), &Packed(cosigner));
        let record = Record::of(Act::AuditPin).servers(vec![server.to_owned()]).detail("witness forgotten");
        inner.add(&mut batch, record.why(reason));
        inner.store.commit(batch).await?;
        Ok(true)
    }

    /// The keys of everybody who ever cosigned.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn witness_keys(&self) -> Result<Vec<String>, AuditError> {
        let cosigners = self.cosigners().await?;
        Ok(cosigners.into_iter().flat_map(|cosigner| cosigner.past_keys.into_iter().chain(cosigner.key)).collect())
    }

    /// Who cosigned the checkpoint of this size: the server, when as it says (seconds), and when that came (milliseconds).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cosigned_by(&self, size: u64) -> Result<Vec<(String, u64, u64)>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let rows = inner.store.latest().scan(&COSIGNATURES, Scan::prefix(&size)).await?;
        Ok(rows.into_iter().map(|(_, Packed(row))| (row.server, row.seconds, row.at_ms)).collect())
    }
}

/// The key that is said to have cosigned, which must bear the server's name.
fn key_of(server: &str, said: &Cosignature) -> Result<NoteKey, &'static str> {
    if said.key.len() > SHOWN_BYTES_MAX || said.cosignature.len() > SHOWN_BYTES_MAX {
        return Err("cosignature: it is too long");
    }
    let key = NoteKey::parse(&said.key).map_err(|_| "key: this is no public key")?;
    let its = key.kind == KeyKind::Witness && key.name == witness_of(server);
    if its { Ok(key) } else { Err("key: this is not the key of a witness on your server") }
}

/// When a key made a cosignature below a note, in seconds since 1970; none where it did not.
fn seconds_of(note: &str, said: &Cosignature, key: &NoteKey) -> Option<u64> {
    let mut note = Note::parse(note).ok()?;
    if said.cosignature.contains('\n') {
        return None;
    }
    note.add(&said.cosignature).ok()?;
    key.check(&note).ok()?
}

impl Cosigner {
    fn change_key(&mut self, key: Option<String>) {
        if let Some(past) = std::mem::replace(&mut self.key, key).filter(|past| !self.past_keys.contains(past)) {
            self.past_keys.push(past);
        }
        self.past_keys.retain(|past| self.key.as_ref() != Some(past));
        let old = self.past_keys.len().saturating_sub(PAST_KEYS_MAX);
        self.past_keys.drain(..old);
    }
}

impl Inner {
    async fn cosigner(&self, server: &str) -> Result<Cosigner, AuditError> {
        let row = self.store.latest().get(&COSIGNERS, &self.server_hash(server)).await?;
        Ok(row.map_or_else(|| Cosigner { server: server.to_owned(), ..Cosigner::default() }, |Packed(row)| row))
    }

    /// Adds to checkpoints, which are ordered by size, what others cosigned of them.
    pub(crate) async fn with_cosignatures(&self, notes: &mut [(u64, String)]) -> Result<(), AuditError> {
        let (Some(first), Some(last)) = (notes.first().map(|note| note.0), notes.last().map(|note| note.0)) else {
            return Ok(());
        };
        let mut scan = Scan::all().from(&(first, [0; 16]));
        loop {
            let rows = self.store.latest().scan(&COSIGNATURES, scan.limit(COSIGNATURES_AT_ONCE)).await?;
            let next = rows.last().filter(|_| rows.len() == COSIGNATURES_AT_ONCE).map(|(key, _)| *key);
            for ((size, _), Packed(row)) in rows.into_iter().take_while(|((size, _), _)| *size <= last) {
                let Ok(at) = notes.binary_search_by_key(&size, |note| note.0) else { continue };
                // What cannot be read is shown as it is: whoever checks it names it.
                let Ok(mut note) = Note::parse(&notes[at].1) else { continue };
                if note.add(&row.line).is_ok() {
                    notes[at].1 = note.to_string();
                }
            }
            match next.filter(|(size, _)| *size <= last) {
                Some(next) => scan = Scan::all().after(&next),
                None => return Ok(()),
            }
        }
    }
}
