//! The trails of others, as this server saw them.

use std::fmt;

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Packed, Scan};

use super::{Cosignature, EVIDENCE, EVIDENCE_DOMAIN, SERVER_DOMAIN, SHOWN_BYTES_MAX, Shown, Untold, WATCHED};
use crate::{
    Act, AuditLog, Checkpoint, KeyKind, Note, NoteKey, Outcome, Record, checkpoint::origin_of, error::AuditError,
    log::Inner, tree::continues,
};

/// A checkpoint is cosigned anew after so many milliseconds, 6 hours, where the trail does not grow: that says that it still
/// is what it was.
const ANEW_MS: u64 = 6 * 60 * 60 * 1_000;
/// Pieces of evidence that are kept of a server: the first ones. They prove what more would prove again.
const EVIDENCE_MAX: usize = 20;
/// Servers of which one answer tells.
const WATCHED_MAX: usize = 1_000;

/// What is wrong with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It does not continue what was cosigned.
    Fork,
    /// It has fewer records than were cosigned.
    Rollback,
    /// Another key signs it.
    KeyChanged,
}

impl Fault {
    /// The word of records and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
            Self::KeyChanged => "key_changed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "does not continue what this server cosigned: records were changed",
            Self::Rollback => "has fewer records than this server cosigned: records were taken away",
            Self::KeyChanged => "is signed by another key than before",
        })
    }
}

/// Since when a trail is not what it was. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faulty {
    /// What is wrong.
    pub fault: Fault,
    /// When it was seen first.
    pub first_ms: u64,
    /// When it was seen last.
    pub last_ms: u64,
    /// How often.
    pub count: u64,
}

/// A checkpoint that this server cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cosigned {
    pub(crate) size: u64,
    /// The note, with the log's signature alone.
    note: String,
    pub(crate) line: String,
    /// The time in the signature, in seconds since 1970.
    seconds: u64,
    pub(crate) at_ms: u64,
    /// Whether the log has the signature.
    delivered: bool,
}

/// A server whose trail this one watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Its name.
    pub server: String,
    /// The key that signs its trail, since it was seen first.
    pub key: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub pinned_ms: u64,
    /// What is wrong with it now.
    pub fault: Option<Faulty>,
    newest: Option<Cosigned>,
    untold: Untold,
}

impl Watched {
    /// Records of the checkpoint that was cosigned last, and when it was, in milliseconds since 1970.
    pub fn cosigned(&self) -> Option<(u64, u64)> {
        self.newest.as_ref().map(|newest| (newest.size, newest.at_ms))
    }

    /// The checkpoint that was cosigned last, with both signatures.
    pub fn checkpoint(&self) -> Option<String> {
        self.newest.as_ref().map(|newest| format!("{}{}\n", newest.note, newest.line))
    }
}

/// What a server's trail was and is not any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The server.
    pub server: String,
    /// What is wrong.
    pub fault: Fault,
    /// When it was seen, in milliseconds since 1970.
    pub seen_ms: u64,
    /// The key that signed before.
    pub known_key: String,
    /// The checkpoint that was cosigned last, with both signatures; none where none was yet.
    pub known: Option<String>,
    /// The key that signs now.
    pub shown_key: String,
    /// The checkpoint that was shown, signed.
    pub shown: String,
    /// What was to prove that the one continues the other.
    pub proof: Vec<String>,
}

/// What came of looking at a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It is what it was; this is for the log, and durable.
    Cosigned(Cosignature),
    /// It is what it was, and the log has the signature that says so.
    NothingNew,
    /// It is not what it was.
    Faulty(Fault),
    /// What was shown makes no sense: nothing that the log could be held to.
    Unreadable(&'static str),
}

/// What was shown, as far as it is signed by its own key.
struct Read {
    key: NoteKey,
    note: String,
    checkpoint: Checkpoint,
}

impl Read {
    fn of(server: &str, shown: &Shown) -> Result<Self, &'static str> {
        if shown.checkpoint.len() > SHOWN_BYTES_MAX || shown.key.len() > SHOWN_BYTES_MAX {
            return Err("the checkpoint is too long");
        }
        let key = NoteKey::parse(&shown.key).map_err(|_| "key: this is no public key")?;
        if key.kind != KeyKind::Log || key.name != origin_of(server) {
            return Err("key: this is the key of another trail");
        }
        let note = Note::parse(&shown.checkpoint).map_err(|_| "checkpoint: this is no signed note")?;
        let checkpoint = Checkpoint::checked(&note, &key).map_err(|_| "checkpoint: the key did not sign it")?;
        // What others cosigned is nothing that this server has checked.
        if !note.signed_only_by(std::slice::from_ref(&key)) {
            return Err("checkpoint: others than the key signed it");
        }
        Ok(Self { key, note: note.to_string(), checkpoint })
    }
}

/// What is to be done about what was shown.
enum Judged {
    Cosign,
    Deliver(Cosigned),
    Nothing,
    Fault(Fault),
    Unreadable(&'static str),
}

fn judged(watched: &Watched, read: &Read, shown: &Shown, now_ms: u64) -> Judged {
    if watched.key.as_ref().is_some_and(|key| *key != shown.key) {
        return Judged::Fault(Fault::KeyChanged);
    }
    let Some(known) = &watched.newest else { return Judged::Cosign };
    // It was read from a note that this server checked.
    let Some(before) = Note::parse(&known.note).ok().and_then(|note| Checkpoint::of_text(&note.text).ok()) else {
        return Judged::Unreadable("what was cosigned before cannot be read");
    };
    let (old, new) = ((before.size, &before.root), (read.checkpoint.size, &read.checkpoint.root));
    if new.0 < old.0 {
        return Judged::Fault(Fault::Rollback);
    }
    if new.0 == old.0 {
        return match (new.1 == old.1, known.delivered, now_ms.abs_diff(known.at_ms) >= ANEW_MS) {
            (false, ..) => Judged::Fault(Fault::Fork),
            (true, _, true) => Judged::Cosign,
            (true, false, _) => Judged::Deliver(known.clone()),
            (true, true, false) => Judged::Nothing,
        };
    }
    match shown.path() {
        None => Judged::Unreadable("proof: this is no proof of consistency"),
        Some(path) if continues(old, new, &path) => Judged::Cosign,
        Some(_) => Judged::Fault(Fault::Fork),
    }
}

impl AuditLog {
    /// The size of the checkpoint of this server that was cosigned last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cosigned_of(&self, server: &str) -> Result<Option<u64>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(None) };
        Ok(inner.watched(server, None).await?.newest.map(|newest| newest.size))
    }

    /// Looks at what a server shows of its trail, in answer to a question from [`AuditLog::cosigned_of`] on, and cosigns
    /// it where it is what it was. The key is that of the configuration, or the one that was seen first.
    ///
    /// # Errors
    /// When the store fails: then nothing is cosigned.
    pub async fn look_at(&self, server: &str, shown: &Shown, key: Option<&NoteKey>) -> Result<Looked, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Looked::NothingNew) };
        let _alone = inner.witnessing.lock().await;
        let watched = inner.watched(server, key).await?;
        let read = match Read::of(server, shown) {
            Ok(read) => read,
            Err(why) => return Ok(Looked::Unreadable(why)),
        };
        match judged(&watched, &read, shown, inner.now_ms()) {
            Judged::Cosign => inner.cosign(watched, read).await,
            Judged::Deliver(known) => Ok(Looked::Cosigned(inner.cosignature(&known))),
            Judged::Nothing => {
                inner.is_sound(watched).await?;
                Ok(Looked::NothingNew)
            }
            Judged::Fault(fault) => inner.note_fault(watched, fault, &read, shown).await,
            Judged::Unreadable(why) => Ok(Looked::Unreadable(why)),
        }
    }

    /// Notes that a server has the signature below its checkpoint of this size.
    ///
    /// # Errors
    /// When the store fails. Then it gets it once more.
    pub async fn delivered(&self, server: &str, size: u64) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let _alone = inner.witnessing.lock().await;
        let mut watched = inner.watched(server, None).await?;
        let Some(newest) = watched.newest.as_mut().filter(|newest| newest.size == size && !newest.delivered) else {
            return Ok(());
        };
        newest.delivered = true;
        let mut batch = Batch::default();
        batch.put(&WATCHED, &inner.server_hash(server), &Packed(watched));
        inner.store.commit(batch).await?;
        Ok(())
    }

    /// Servers whose trails were looked at, by their names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn watched(&self) -> Result<Vec<Watched>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let rows = inner.store.latest().scan(&WATCHED, Scan::all().limit(WATCHED_MAX)).await?;
        let mut watched: Vec<Watched> = rows.into_iter().map(|(_, Packed(watched))| watched).collect();
        watched.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(watched)
    }

    /// What proves that trails are not what they were, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn evidence(&self) -> Result<Vec<Evidence>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let all = Scan::all().limit(WATCHED_MAX * EVIDENCE_MAX);
        let rows = inner.store.latest().scan(&EVIDENCE, all).await?;
        let mut evidence: Vec<Evidence> = rows.into_iter().map(|(_, Packed(evidence))| evidence).collect();
        evidence.sort_by_key(|evidence| evidence.seen_ms);
        Ok(evidence)
    }

    /// Takes a server's trail as it is from now on: the key and the checkpoint that it shows next are believed. Evidence
    /// stays. Says whether that server was watched.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn watch_anew(&self, server: &str, reason: &str) -> Result<bool, AuditError> {
        let Some(inner) = self.inner() else { return Ok(false) };
        let _alone = inner.witnessing.lock().await;
        let hash = inner.server_hash(server);
        if inner.store.latest().get(&WATCHED, &hash).await?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.delete(&WATCHED, &hash);
        let record = Record::of(Act::AuditPin).servers(vec![server.to_owned()]).detail("log forgotten").why(reason);
        inner.add(&mut batch, record);
        inner.store.commit(batch).await?;
        Ok(true)
    }
}

impl Inner {
    pub(super) fn server_hash(&self, server: &str) -> Hash16 {
        self.store.keyed_hash(SERVER_DOMAIN, server.as_bytes())
    }

    /// What is known of a server, with the key of the configuration if there is one.
    async fn watched(&self, server: &str, key: Option<&NoteKey>) -> Result<Watched, AuditError> {
        let row = self.store.latest().get(&WATCHED, &self.server_hash(server)).await?;
        let mut watched = row.map(|Packed(row)| row).unwrap_or_default();
        watched.server = server.to_owned();
        if let Some(key) = key {
            watched.key = Some(key.to_string());
        }
        Ok(watched)
    }

    fn cosignature(&self, of: &Cosigned) -> Cosignature {
        let key = self.witness.key().for_kind(KeyKind::Witness).to_string();
        Cosignature { size: of.size, key, cosignature: of.line.clone() }
    }

    /// Cosigns a checkpoint: durable first.
    async fn cosign(&self, mut watched: Watched, read: Read) -> Result<Looked, AuditError> {
        let (now_ms, mut batch) = (self.now_ms(), Batch::default());
        let about = |act| Record::of(act).servers(vec![watched.server.clone()]);
        if watched.pinned_ms == 0 {
            let key = format!("{:08x}", u32::from_be_bytes(read.key.id()));
            self.add(&mut batch, about(Act::AuditPin).detail("log").name(key));
            (watched.key, watched.pinned_ms) = (Some(read.key.to_string()), now_ms);
        }
        if let Some((count, since_ms)) = watched.untold.count(now_ms) {
            self.turn_key().await?;
            self.add(&mut batch, about(Act::AuditCosign).detail("given").count(count).between(since_ms, now_ms));
        }
        // A clock that goes back must not make it look as if the older one was the newer one.
        let before = watched.newest.as_ref().map_or(0, |newest| newest.seconds);
        let seconds = (now_ms / 1_000).max(before);
        let line = self.witness.cosign(&read.checkpoint.text(), seconds);
        let size = read.checkpoint.size;
        let cosigned = Cosigned { size, note: read.note, line, seconds, at_ms: now_ms, delivered: false };
        let told = self.cosignature(&cosigned);
        (watched.newest, watched.fault) = (Some(cosigned), None);
        batch.put(&WATCHED, &self.server_hash(&watched.server), &Packed(watched));
        self.store.commit(batch).await?;
        Ok(Looked::Cosigned(told))
    }

    /// Notes that a trail is what it was, after it was not.
    async fn is_sound(&self, mut watched: Watched) -> Result<(), AuditError> {
        if watched.fault.take().is_none() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(&WATCHED, &self.server_hash(&watched.server), &Packed(watched));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Keeps what proves that a trail is not what it was.
    async fn note_fault(
        &self,
        mut watched: Watched,
        fault: Fault,
        read: &Read,
        shown: &Shown,
    ) -> Result<Looked, AuditError> {
        let (now_ms, mut batch) = (self.now_ms(), Batch::default());
        let server = self.server_hash(&watched.server);
        let same = watched.fault.filter(|before| before.fault == fault);
        watched.fault = Some(Faulty {
            fault,
            first_ms: same.map_or(now_ms, |before| before.first_ms),
            last_ms: now_ms,
            count: same.map_or(0, |before| before.count).saturating_add(1),
        });
        let known = watched.checkpoint();
        let about = format!("{}\n{known:?}\n{}", fault.word(), read.note);
        let key = (server, self.store.keyed_hash(EVIDENCE_DOMAIN, about.as_bytes()));
        let kept = self.store.latest().scan_keys(&EVIDENCE, Scan::prefix(&server).limit(EVIDENCE_MAX)).await?;
        if kept.len() < EVIDENCE_MAX && !kept.contains(&key) {
            let evidence = Evidence {
                server: watched.server.clone(),
                fault,
                seen_ms: now_ms,
                known_key: watched.key.clone().unwrap_or_default(),
                known,
                shown_key: shown.key.clone(),
                shown: read.note.clone(),
                proof: shown.path().map_or_else(Vec::new, |_| shown.proof.clone()),
            };
            batch.put(&EVIDENCE, &key, &Packed(evidence));
            self.turn_key().await?;
            let record = Record::of(Act::AuditFault).servers(vec![watched.server.clone()]).detail(fault.word());
            self.add(&mut batch, record.outcome(Outcome::Serious));
        }
        batch.put(&WATCHED, &server, &Packed(watched));
        self.store.commit(batch).await?;
        Ok(Looked::Faulty(fault))
    }
}
