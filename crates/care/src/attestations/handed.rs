//! What other servers are told of this server's users, and that it is taken back.
//!
//! What was said to whom is written down before it is said: who loses a role is looked up there, and the servers that may
//! still believe in it are told.

use std::collections::BTreeMap;

use ruma::{OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde::Serialize;
use serde_json::value::to_raw_value;
use wardroom_rooms::{NS_SERVER, NS_USER, RoomError, ServerNid, UserNid};
use wardroom_store::{Batch, Packed, Position, Scan};

use super::{AttestTo, Attestation, Attestations, ROLE_REVOKED, word::LIFETIME_MS_MAX};
use crate::{
    Care, CareError,
    role::Role,
    roles::ROLES_PER_SOURCE_MAX,
    tables::{HANDED, HandedRow},
};

/// How often it is tried to say what is so while it changes.
const ATTEMPTS_MAX: usize = 3;
/// Servers that one user is spoken of to, and users read at once.
const ROWS_MAX: usize = 1_000;

/// What another server was told of a user. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handed {
    /// The user.
    pub user_id: OwnedUserId,
    /// The server.
    pub server: OwnedServerName,
    /// The room that it asked about last.
    pub room_id: String,
    /// Roles that it may still believe in.
    pub roles: Vec<String>,
    /// When it was told last.
    pub issued_ts: u64,
    /// Until when that is good.
    pub expires_ts: u64,
    /// Roles that were taken back since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_ts: Option<u64>,
}

/// Roles, each with the moment at which it ends.
type Ending = BTreeMap<Role, Option<u64>>;

impl Attestations {
    /// Whether a server may ask about users who have nothing to do with the room yet.
    pub fn tells_before_invitations(&self, server: &ServerName) -> bool {
        self.0.attest_to.get(server).is_some_and(|to| to.before_invitations)
    }

    /// What this server says of one of its users to another server; none where it says nothing to that one. That the
    /// other server may ask about this user and room has been found out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn attest(
        &self,
        user: &UserId,
        room: &RoomId,
        server: &ServerName,
    ) -> Result<Option<Attestation>, CareError> {
        let Some(to) = self.0.attest_to.get(server) else { return Ok(None) };
        let _alone = self.0.handing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let now_ms = self.0.clock.now_ms();
            let roles = self.told(user, to, now_ms);
            let ends_ms = roles.values().flatten().min().copied().unwrap_or(u64::MAX);
            let attestation = Attestation {
                sub: user.to_owned(),
                roles: roles.keys().map(ToString::to_string).collect(),
                org: self.0.judge.server().to_owned(),
                iat: now_ms,
                exp: ends_ms.min(now_ms.saturating_add(LIFETIME_MS_MAX)),
                aud: server.to_owned(),
                jti: format!("{:032x}", rand::random::<u128>()),
                room_id: room.to_owned(),
            };
            if roles.is_empty() {
                return Ok(Some(attestation));
            }
            self.note_handed(&attestation).await?;
            // Who loses a role from here on finds what was written.
            if self.told(user, to, now_ms) == roles {
                return Ok(Some(attestation));
            }
        }
        Err(RoomError::Busy.into())
    }

    /// What a server is told of a user now.
    fn told(&self, user: &UserId, to: &AttestTo, now_ms: u64) -> Ending {
        let mut told = Ending::new();
        let Some(holder) = self.0.judge.roles().of(user) else { return told };
        for binding in holder.own_bindings_at(now_ms) {
            if !to.roles.iter().any(|requirement| requirement.is_met_by(&binding.role)) {
                continue;
            }
            // Of several sources the one that gives it longest counts.
            let ends = told.entry(binding.role.clone()).or_insert(binding.until_ms);
            *ends = ends.zip(binding.until_ms).map(|(one, other)| one.max(other));
        }
        while told.len() > ROLES_PER_SOURCE_MAX {
            told.pop_last();
        }
        told
    }

    /// Writes down what is about to be said. What was said before may still be believed.
    async fn note_handed(&self, attestation: &Attestation) -> Result<(), CareError> {
        let (interner, mut batch) = (self.0.store.interner(), Batch::default());
        let user = UserNid::new(interner.intern(&mut batch, NS_USER, attestation.sub.as_str()).await?);
        let server = ServerNid::new(interner.intern(&mut batch, NS_SERVER, attestation.aud.as_str()).await?);
        let before = self.0.store.latest().get(&HANDED, &(user, server)).await?;
        let before = before.map(|Packed(row)| row).filter(|row| row.until_ms > attestation.iat).unwrap_or_default();
        let mut roles = attestation.roles.clone();
        roles.extend(before.roles.into_iter().filter(|role| !attestation.roles.contains(role)));
        let row = HandedRow {
            room: attestation.room_id.to_string(),
            roles,
            said_ms: attestation.iat,
            until_ms: attestation.exp.max(before.until_ms),
            taken_back: before.taken_back.into_iter().filter(|role| !attestation.roles.contains(role)).collect(),
            taken_back_ms: before.taken_back_ms,
        };
        batch.put(&HANDED, &(user, server), &Packed(row));
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// The roles in a row that the server would not be told any more.
    fn lost(&self, user: &UserId, server: &ServerName, row: &HandedRow, now_ms: u64) -> Vec<String> {
        let told = self.0.attest_to.get(server).map(|to| self.told(user, to, now_ms)).unwrap_or_default();
        let told: Vec<String> = told.keys().map(ToString::to_string).collect();
        row.roles.iter().filter(|role| !told.contains(role)).cloned().collect()
    }
}

/// What is told of a loss.
#[derive(Serialize)]
struct Revocation<'a> {
    user_id: &'a UserId,
    roles: &'a [String],
    at: u64,
}

impl Care {
    /// Tells the servers that may still believe in them which roles these users have lost.
    pub(crate) async fn tell_losses_of(&self, changed: &[(UserNid, Position)]) -> Result<(), CareError> {
        for (user, _) in changed {
            self.tell_losses(*user).await?;
        }
        Ok(())
    }

    async fn tell_losses(&self, user: UserNid) -> Result<(), CareError> {
        let (Some(tellers), inner) = (self.0.tellers.get(), &*self.0.attestations.0) else { return Ok(()) };
        let _alone = inner.handing.lock().await;
        let rows = inner.store.latest().scan(&HANDED, Scan::prefix(&user).limit(ROWS_MAX)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let name = inner.store.interner().resolve(NS_USER, user.get()).await?;
        let Some(id) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) else { return Ok(()) };
        let (mut batch, now_ms) = (Batch::default(), inner.clock.now_ms());
        for (key, Packed(mut row)) in rows {
            let server = inner.store.interner().resolve(NS_SERVER, key.1.get()).await?;
            let server = server.and_then(|name| OwnedServerName::try_from(&*name).ok());
            let Some(server) = server.filter(|_| row.until_ms > now_ms) else {
                batch.delete(&HANDED, &key);
                continue;
            };
            let lost = self.0.attestations.lost(&id, &server, &row, now_ms);
            if lost.is_empty() {
                continue;
            }
            let content = to_raw_value(&Revocation { user_id: &id, roles: &lost, at: now_ms });
            let content = content.map_err(|error| RoomError::BadContent(error.to_string()))?;
            tellers.tell(&mut batch, &server, ROLE_REVOKED, content).await.map_err(CareError::Teller)?;
            row.roles.retain(|role| !lost.contains(role));
            row.taken_back.retain(|role| !lost.contains(role));
            row.taken_back.extend(lost);
            row.taken_back.truncate(ROLES_PER_SOURCE_MAX);
            row.taken_back_ms = Some(now_ms);
            batch.put(&HANDED, &key, &Packed(row));
        }
        if !batch.is_empty() {
            inner.store.commit(batch).await?;
        }
        Ok(())
    }

    /// As [`Care::tell_losses`], of everybody of whom something was said: what the operator lets be told may be less than
    /// before. What is not good any more is forgotten.
    pub(super) async fn tell_all_losses(&self) -> Result<(), CareError> {
        let mut from = UserNid::new(0);
        loop {
            let scan = Scan::all().from(&from).limit(1);
            let Some((user, _)) = self.0.store.latest().scan_keys(&HANDED, scan).await?.pop() else { return Ok(()) };
            self.tell_losses(user).await?;
            from = UserNid::new(user.get().saturating_add(1));
        }
    }

    /// What other servers were told and may still believe, by user and server; those of one server where it is named.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn handed(&self, server: Option<&ServerName>) -> Result<Vec<Handed>, CareError> {
        let (store, now_ms, mut scan, mut found) = (&self.0.store, self.now_ms(), Scan::all(), Vec::new());
        loop {
            let rows = store.latest().scan(&HANDED, scan.limit(ROWS_MAX)).await?;
            let nids: Vec<u64> = rows.iter().map(|((user, _), _)| user.get()).collect();
            let users = store.interner().resolve_many(NS_USER, &nids).await?;
            let nids: Vec<u64> = rows.iter().map(|((_, server), _)| server.get()).collect();
            let servers = store.interner().resolve_many(NS_SERVER, &nids).await?;
            let last = rows.last().filter(|_| rows.len() == ROWS_MAX).map(|(key, _)| *key);
            for ((user, of), (_, Packed(row))) in users.into_iter().zip(servers).zip(rows) {
                let user = user.and_then(|user| OwnedUserId::try_from(&*user).ok());
                let of = of.and_then(|server| OwnedServerName::try_from(&*server).ok());
                let (Some(user_id), Some(of)) = (user, of) else { continue };
                if row.until_ms > now_ms && server.is_none_or(|server| of == server) {
                    found.push(shown(user_id, of, row));
                }
            }
            match last {
                Some(last) => scan = Scan::all().after(&last),
                None => break,
            }
        }
        found.sort_unstable_by(|one, other| (&one.user_id, &one.server).cmp(&(&other.user_id, &other.server)));
        Ok(found)
    }
}

fn shown(user_id: OwnedUserId, server: OwnedServerName, row: HandedRow) -> Handed {
    Handed {
        user_id,
        server,
        room_id: row.room,
        roles: row.roles,
        issued_ts: row.said_ms,
        expires_ts: row.until_ms,
        revoked: row.taken_back,
        revoked_ts: row.taken_back_ms,
    }
}
