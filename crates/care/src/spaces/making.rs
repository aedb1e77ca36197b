//! Making spaces of roles, and what they are called.

use std::sync::Arc;

use ruma::events::StateEventType;
use serde_json::{
    Map, Value, json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::RoomVersion;
use wardroom_rooms::{MemberProfile, NewRoom, Preset, ROLE_CONDITION, RoomError, RoomNid, RoomView, UserNid};
use wardroom_store::Batch;

use super::{RoleSpace, SPACES_MAX, Who};
use crate::{
    Care, CareError,
    role::Requirement,
    service_user::{LEVEL, actor},
};

/// Longest name and topic of a space, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// What a space is called; what is left out stays, or is made from the role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpaceTexts {
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
}

impl SpaceTexts {
    fn check(&self) -> Result<(), CareError> {
        for (field, text) in [("name", &self.name), ("topic", &self.topic)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
                return Err(CareError::Invalid(format!("{field}: has more than {TEXT_CHARS_MAX} characters.")));
            }
        }
        Ok(())
    }
}

fn raw(content: &Value) -> Result<Box<RawJsonValue>, CareError> {
    Ok(to_raw_value(content).map_err(|error| RoomError::BadContent(error.to_string()))?)
}

/// Content of the state event that holds a text.
fn text_content(kind: &StateEventType, text: &str) -> Value {
    match kind {
        StateEventType::RoomTopic => json!({ "topic": text, "m.topic": { "m.text": [{ "body": text }] } }),
        _ => json!({ "name": text }),
    }
}

impl Care {
    /// Makes a space of those who meet a requirement, or brings everybody out of it who is in it. A space that was there
    /// before and can still be kept is used again.
    ///
    /// # Errors
    /// [`CareError::Invalid`] with the field at fault; when rooms or the store fail.
    pub async fn set_space(&self, requirement: &Requirement, on: bool, texts: SpaceTexts) -> Result<(), CareError> {
        texts.check()?;
        let spaces = self.0.judge.spaces();
        let _alone = spaces.making.lock().await;
        let known = spaces.of(requirement);
        let usable = match &known {
            Some(space) => self.trouble_with(space).await?.is_none(),
            None => false,
        };
        match known {
            Some(space) if usable || !on => {
                self.turn(&space, on).await?;
                if usable {
                    self.set_texts(&space, texts).await?;
                }
            }
            None if !on => return Ok(()),
            before => {
                if let Some(before) = before {
                    // Rooms may still let its members in: nobody stays in it whom this server can bring out.
                    self.turn(&before, false).await?;
                    self.keep(before.room, Who::Everybody).await?;
                } else if spaces.all().len() >= SPACES_MAX {
                    let sentence = format!("space: at most {SPACES_MAX} roles can be spaces.");
                    return Err(CareError::Invalid(sentence));
                }
                self.make(requirement, texts).await?;
            }
        }
        if let Some(space) = spaces.of(requirement) {
            self.keep(space.room, Who::Everybody).await?;
        }
        Ok(())
    }

    /// Notes whether those who have the role are to be in the space.
    async fn turn(&self, space: &RoleSpace, on: bool) -> Result<(), CareError> {
        if space.on != on {
            let mut batch = Batch::default();
            self.0.judge.spaces().put(&mut batch, RoleSpace { on, ..space.clone() });
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }

    async fn make(&self, requirement: &Requirement, texts: SpaceTexts) -> Result<(), CareError> {
        let account = self.0.service.account().await?;
        let version = self.0.rooms.default_version();
        let restricted =
            RoomVersion::new(version).is_some_and(|known| known.rules().authorization.restricted_join_rule);
        // Whoever has the role may come back by their own will; for everybody else, and where the condition is not known,
        // this is a room for the invited.
        let join_rules = match restricted {
            true => json!({ "join_rule": "restricted", "allow": [{ "type": ROLE_CONDITION }] }),
            false => json!({ "join_rule": "invite" }),
        };
        let state = [
            (StateEventType::RoomJoinRules, join_rules),
            (StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "joined" })),
            (StateEventType::RoomGuestAccess, json!({ "guest_access": "forbidden" })),
        ];
        let mut initial_state = Vec::with_capacity(state.len());
        for (kind, content) in state {
            initial_state.push((kind.to_string(), String::new(), raw(&content)?));
        }
        // Nobody but the server decides anything here.
        let levels = ["invite", "kick", "ban", "redact", "state_default", "events_default"];
        let power_levels = levels.into_iter().map(|field| (field.to_owned(), LEVEL.into()));
        let topic = || format!("Everybody who has the role {requirement}. The server keeps the list.");
        let request = NewRoom {
            version: None,
            preset: Preset::PrivateChat,
            creation_content: Map::from_iter([("type".to_owned(), "m.space".into())]),
            initial_state,
            power_levels: power_levels.collect(),
            name: Some(texts.name.unwrap_or_else(|| requirement.to_string())),
            topic: Some(texts.topic.unwrap_or_else(topic)),
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: MemberProfile { displayname: Some(self.0.service.display_name().to_owned()), avatar_url: None },
        };
        let (spaces, requirement) = (self.0.judge.spaces().clone(), requirement.clone());
        let also = move |room: RoomNid| {
            let mut batch = Batch::default();
            spaces.put(&mut batch, RoleSpace { requirement, room, on: true, keeping: Arc::default() });
            batch
        };
        let by = actor(&account.id, UserNid::new(account.nid.get()));
        self.0.rooms.create_with(by, request, also).await?;
        Ok(())
    }

    async fn set_texts(&self, space: &RoleSpace, texts: SpaceTexts) -> Result<(), CareError> {
        let view = self.0.rooms.view_of(space.room).await?;
        for (kind, text) in [(StateEventType::RoomName, texts.name), (StateEventType::RoomTopic, texts.topic)] {
            let Some(text) = text else { continue };
            let content = text_content(&kind, &text);
            if self.content_of(&view, &kind).await?.as_ref() != Some(&content) {
                self.0.service.set_state(&view, &kind, raw(&content)?).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn content_of(&self, view: &RoomView, kind: &StateEventType) -> Result<Option<Value>, CareError> {
        let event = self.0.rooms.state_event(view.nid, view.state, kind, "").await?;
        Ok(event.and_then(|event| event.pdu.content_as().ok()))
    }
}
