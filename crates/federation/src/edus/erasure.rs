//! `org.wardroom.erasure`: a person is erased where they are a user, and other servers are asked to do as much (GDPR, articles
//! 17(2) and 19). Matrix has nothing for that ([MSC2438] is not merged), so it is understood among servers like this one.
//!
//! A server speaks for its own users alone, and is heard where it is a server of a user who is known here.
//!
//! [MSC2438]: https://github.com/matrix-org/matrix-spec-proposals/pull/2438

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use wardroom_audit::{Act, Record};
use wardroom_rooms::{ErasureWish, UserNid};
use wardroom_store::Batch;

use super::Edus;
use crate::{FederationError, OutgoingEdu};

/// `edu_type`.
pub(super) const ERASURE: &str = "org.wardroom.erasure";

/// Who is erased.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ErasureContent {
    user_id: OwnedUserId,
}

impl Edus {
    /// Tells other servers that a user of this one is erased, until they take it. Answers which of them are told: those that
    /// are admitted.
    ///
    /// # Errors
    /// When the store fails; nobody is told then.
    pub async fn tell_erasure(
        &self,
        user: &UserId,
        servers: Vec<OwnedServerName>,
    ) -> Result<Vec<OwnedServerName>, FederationError> {
        let content = ErasureContent { user_id: user.to_owned() };
        let Ok(content) = to_raw_value(&content) else { return Ok(Vec::new()) };
        let told: Vec<OwnedServerName> = servers.into_iter().filter(|server| self.0.partners.admits(server)).collect();
        let mut batch = Batch::default();
        for server in &told {
            let edu = OutgoingEdu { kind: ERASURE, coalesce: None, content: content.clone() };
            self.0.outbox.queue_edu(&mut batch, server, edu).await?;
        }
        if !told.is_empty() {
            let names = told.iter().map(ToString::to_string).collect();
            let record = Record::of(Act::AccountErase).user(user.as_str()).detail("told").servers(names);
            self.0.audit.add(&mut batch, record);
            self.0.store.commit(batch).await?;
        }
        Ok(told)
    }

    pub(super) async fn erasure(
        &self,
        origin: &ServerName,
        content: Option<ErasureContent>,
    ) -> Result<(), FederationError> {
        let Some(ErasureContent { user_id }) = content.filter(|content| content.user_id.server_name() == origin) else {
            return Ok(());
        };
        if !self.0.accept_erasure {
            return Ok(());
        }
        let Some(nid) = self.0.accounts.user_nid(&user_id).await? else { return Ok(()) };
        let nid = UserNid::new(nid.get());
        // Told again, perhaps.
        if self.0.rooms.erasure(nid).await?.is_some() || self.0.rooms.memberships(nid).await?.is_empty() {
            return Ok(());
        }
        let reason = Some(format!("asked for by {origin}"));
        self.0.rooms.erase_user(ErasureWish { user: &user_id, nid, reason, until_ms: None }).await?;
        Ok(())
    }
}
