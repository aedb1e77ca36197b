//! Making events of this server.

use std::sync::Arc;

use ruma::{UserId, events::StateEventType};
use wardroom_event::{Draft, Pdu, auth_types, authorize};

use super::{NewEvent, PREV_EVENTS_MAX, Writer};
use crate::{
    error::RoomError,
    events::Stored,
    ids::{NS_USER, UserNid, is_member},
    retention::check_content,
};

impl Writer {
    /// Makes an event on the forward extremities, checks it against the authorization rules, and adds it to the batch.
    pub(crate) async fn append(&mut self, new: NewEvent) -> Result<Arc<Stored>, RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let transaction = new.transaction.clone();
        let pdu = self.prepare(new).await?;
        self.accept(pdu, transaction).await
    }

    /// Makes an event on the forward extremities and checks it against the authorization rules. It is the next that
    /// [`Writer::accept`] takes, or none.
    pub(crate) async fn prepare(&self, new: NewEvent) -> Result<Arc<Pdu>, RoomError> {
        self.check_reachable(&new)?;
        let pdu = self.prepare_unsent(new).await?;
        self.with_policy_signature(pdu).await
    }

    /// As [`Writer::prepare`], for events that go elsewhere before they are part of the room.
    pub(crate) async fn prepare_unsent(&self, new: NewEvent) -> Result<Arc<Pdu>, RoomError> {
        self.check_resident().await?;
        self.engine.check_policy(&new)?;
        check_content(&new.kind, new.state_key.as_deref(), &new.content).map_err(RoomError::BadContent)?;
        let (pdu, state) = self.draft(new).await?;
        let find = |kind: &StateEventType, key: &str| {
            state.iter().find(|(k, s, _)| k == kind && s == key).map(|(_, _, stored)| Arc::clone(&stored.pdu))
        };
        authorize(&pdu, find).map_err(|rejection| RoomError::Forbidden(rejection.to_string()))?;
        self.check_relation(&pdu).await?;
        Ok(pdu)
    }

    /// Adds a prepared event to the batch.
    pub(crate) async fn accept(
        &mut self,
        pdu: Arc<Pdu>,
        transaction: Option<([u8; 16], String)>,
    ) -> Result<Arc<Stored>, RoomError> {
        // From here on the batch changes, and only the store can fail.
        let added = self.add(pdu, transaction).await;
        if let Ok(stored) = &added {
            self.end_typing(&stored.pdu).await?;
        }
        if let Err(failure) = &added {
            self.failed = Some(failure.clone());
        }
        added
    }

    /// An invitation to a user of another server has to be signed there first, which is not for this crate to ask:
    /// [`crate::Rooms::draft_member`] makes it and [`crate::Rooms::admit`] takes it.
    fn check_reachable(&self, new: &NewEvent) -> Result<(), RoomError> {
        #[derive(serde::Deserialize)]
        struct Content {
            membership: Option<String>,
        }
        let Some(user) = new.state_key.as_deref().filter(|_| new.kind == "m.room.member") else { return Ok(()) };
        let remote = <&UserId>::try_from(user).is_ok_and(|user| user.server_name() != self.engine.server_name);
        let content = remote.then(|| serde_json::from_str::<Content>(new.content.get()));
        match content {
            Some(Ok(Content { membership: Some(membership) })) if membership == "invite" => {
                Err(RoomError::Forbidden("user_id: this server cannot invite users of other servers.".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Who is in the room no more does not type any more. Who has sent a message may well go on typing the next one:
    /// their client says.
    pub(crate) async fn end_typing(&mut self, pdu: &Pdu) -> Result<(), RoomError> {
        let Some(user) = pdu.state_key().filter(|_| is_member(pdu.kind())) else { return Ok(()) };
        if let Some(user) = self.engine.store.interner().known(NS_USER, user).await? {
            let room = self.nid();
            self.engine.typing_ends(&mut self.batch, UserNid::new(user), room);
        }
        Ok(())
    }

    /// Builds and signs an event; returns it with the state it is authorized by.
    async fn draft(&self, new: NewEvent) -> Result<(Arc<Pdu>, Vec<(StateEventType, String, Arc<Stored>)>), RoomError> {
        let kind = new.kind.as_str().into();
        let types = auth_types(self.version(), &kind, &new.sender, new.state_key.as_deref(), &new.content)
            .map_err(|rejection| RoomError::BadContent(rejection.to_string()))?;
        let mut state = Vec::with_capacity(types.len() + 1);
        for (kind, state_key) in types {
            if let Some(stored) = self.state_event(&kind, &state_key).await? {
                state.push((kind, state_key, stored));
            }
        }
        let auth_events = state.iter().map(|(_, _, stored)| stored.pdu.event_id().to_owned()).collect();
        let has_create = state.iter().any(|(kind, ..)| *kind == StateEventType::RoomCreate);
        if !has_create && let Some(create) = self.event(self.base.create).await? {
            // Version 12 names the create event by the room id alone; the rules still read it.
            state.push((StateEventType::RoomCreate, String::new(), create));
        }
        let mut prev_events = Vec::with_capacity(self.head.extremities.len().min(PREV_EVENTS_MAX));
        for nid in self.head.extremities.iter().rev().take(PREV_EVENTS_MAX) {
            prev_events.push(match self.event(*nid).await? {
                Some(stored) => stored.pdu.event_id().to_owned(),
                // A store that was restored may have no more of it than where it stands.
                None => self.engine.event_id(*nid).await?,
            });
        }
        let draft = Draft {
            room_id: Some(self.base.id.clone()),
            sender: new.sender,
            kind,
            state_key: new.state_key,
            content: new.content,
            redacts: new.redacts,
            prev_events,
            auth_events,
            depth: self.head.depth + 1,
            origin_server_ts: self.now_ms,
        };
        let pdu = draft.sign(self.version(), &self.engine.server_name, &self.engine.key)?;
        Ok((Arc::new(pdu), state))
    }
}
