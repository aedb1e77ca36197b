//! Creating rooms (specification, `POST /createRoom`): all events of a new room are one commit.

use std::sync::{Arc, atomic::Ordering};

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId};
use serde_json::{
    Map, Value, json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::{Draft, Pdu, RoomVersion, check_standalone};
use wardroom_store::{Batch, Hash16, Json};

use crate::{
    Action, Actor, Engine, Rooms,
    ends::Activity,
    error::RoomError,
    gate::RoomBirth,
    ids::{EventNid, NS_ROOM, Place, RoomNid},
    membership::{MemberChange, MemberProfile},
    retention::RetentionOf,
    room::RoomView,
    tables::{Head, LISTED, ROOMS, RoomRecord},
    trie::Root,
    visibility::Visibility,
    writer::{NewEvent, Writer},
};

/// Users that one request may invite.
const INVITES_MAX: usize = 500;
/// State events that one request may bring.
const INITIAL_STATE_MAX: usize = 500;

/// What a new room starts with (specification, "Presets").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Invited users only.
    PrivateChat,
    /// Invited users only, each with the creator's power.
    TrustedPrivateChat,
    /// Everybody.
    PublicChat,
}

impl Preset {
    const fn join_rule(self) -> &'static str {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => "invite",
            Self::PublicChat => "public",
        }
    }

    const fn guest_access(self) -> &'static str {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => "can_join",
            Self::PublicChat => "forbidden",
        }
    }

    const fn invite_level(self) -> i64 {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => 0,
            Self::PublicChat => 50,
        }
    }
}

/// A room to be made; the fields are those of `POST /createRoom`.
#[derive(Debug)]
pub struct NewRoom {
    /// Version; the server's default where none is asked for.
    pub version: Option<RoomVersionId>,
    /// Preset.
    pub preset: Preset,
    /// Further fields of the `m.room.create` event's content.
    pub creation_content: Map<String, Value>,
    /// State to start with: type, state key, content.
    pub initial_state: Vec<(String, String, Box<RawJsonValue>)>,
    /// Fields of the `m.room.power_levels` event's content that replace the preset's.
    pub power_levels: Map<String, Value>,
    /// Name.
    pub name: Option<String>,
    /// Topic.
    pub topic: Option<String>,
    /// Alias that becomes the canonical one.
    pub alias: Option<OwnedRoomAliasId>,
    /// Whom to invite, with their profiles. Users of other servers get what the preset gives the invited; their
    /// invitations are sent once the room is there, because their servers sign them.
    pub invite: Vec<(OwnedUserId, MemberProfile)>,
    /// The invitations are to a direct chat.
    pub is_direct: bool,
    /// List the room in the public directory.
    pub listed: bool,
    /// The creator's profile.
    pub profile: MemberProfile,
}

impl Rooms {
    /// Makes a room with the actor as its first member.
    pub async fn create(&self, actor: Actor<'_>, request: NewRoom) -> Result<OwnedRoomId, RoomError> {
        self.create_with(actor, request, |_| Batch::default()).await
    }

    /// As [`Rooms::create`], with what else is to be written in the same commit, given the room's number.
    pub async fn create_with(
        &self,
        actor: Actor<'_>,
        mut request: NewRoom,
        also: impl FnOnce(RoomNid) -> Batch + Send,
    ) -> Result<OwnedRoomId, RoomError> {
        let id = request.version.as_ref().unwrap_or(&self.engine.default_version);
        let version = RoomVersion::new(id).ok_or_else(|| RoomError::unsupported(id))?;
        if request.invite.len() > INVITES_MAX {
            return Err(RoomError::InvalidParam(format!(
                "invite: at most {INVITES_MAX} users can be invited at once."
            )));
        }
        if request.initial_state.len() > INITIAL_STATE_MAX {
            return Err(RoomError::InvalidParam(format!(
                "initial_state: at most {INITIAL_STATE_MAX} events are allowed."
            )));
        }
        if let Some(alias) = &request.alias {
            self.engine.check_alias(alias)?;
        }
        let template = self.engine.give_policy(actor.user, version, &mut request)?;
        let create = self.engine.create_event(actor.user, version, &request)?;
        let mut writer = self.engine.found_room(actor, version, create, 0).await?;
        writer.made_by(template);
        let room_id = writer.view().id;
        writer.furnish(actor, version, request).await.map_err(|error| match error {
            RoomError::Forbidden(sentence) => RoomError::InvalidRoomState(sentence),
            other => other,
        })?;
        if template.is_some() {
            writer.note_retention().await?;
        }
        let also = also(writer.nid());
        writer.batch.append(also);
        writer.commit().await?;
        Ok(room_id)
    }
}

impl Engine {
    /// Gives the new room the policy that the gate has for it; answers the template by which it does. Who acts for the server in a room with a policy becomes
    /// one of its creators where those stand above everybody.
    fn give_policy(
        &self,
        creator: &UserId,
        version: RoomVersion,
        request: &mut NewRoom,
    ) -> Result<Option<Hash16>, RoomError> {
        let Some(kind) = self.gate.policy_type().map(ToString::to_string) else { return Ok(None) };
        let room_type = request.creation_content.get("type").and_then(Value::as_str);
        let birth = RoomBirth { creator, room_type, alias: request.alias.as_deref() };
        let template = self.gate.template_for(&birth);
        let is_policy = |(given, key, _): &(String, String, _)| *given == kind && key.is_empty();
        match self.gate.policy_for(&birth).map_err(RoomError::Forbidden)? {
            Some(content) => {
                request.initial_state.retain(|state| !is_policy(state));
                request.initial_state.push((kind, String::new(), content));
            }
            None if request.initial_state.iter().any(is_policy) => {}
            None => return Ok(None),
        }
        let own_user = self.gate.own_user().filter(|own| *own != creator);
        if let Some(own_user) = own_user.filter(|_| version.rules().authorization.additional_room_creators) {
            let also = request.creation_content.entry("additional_creators").or_insert_with(|| json!([]));
            // What is no list is refused with the rest of the create event.
            if let Some(also) = also.as_array_mut().filter(|also| !also.contains(&json!(own_user))) {
                also.push(json!(own_user));
            }
        }
        Ok(template)
    }

    /// The create event; in version 12 the room's id is made of it.
    fn create_event(&self, creator: &UserId, version: RoomVersion, request: &NewRoom) -> Result<Arc<Pdu>, RoomError> {
        let rules = version.rules();
        let mut content = request.creation_content.clone();
        content.insert("room_version".to_owned(), version.as_str().into());
        content.remove("creator");
        if !rules.authorization.use_room_create_sender {
            content.insert("creator".to_owned(), creator.as_str().into());
        }
        if rules.authorization.explicitly_privilege_room_creators && request.preset == Preset::TrustedPrivateChat {
            let also = content.entry("additional_creators").or_insert_with(|| json!([]));
            let also = also.as_array_mut().ok_or_else(|| {
                RoomError::BadContent("creation_content.additional_creators: must be a list of user ids.".to_owned())
            })?;
            for (user, _) in &request.invite {
                if user != creator && !also.iter().any(|creator| creator.as_str() == Some(user.as_str())) {
                    also.push(user.as_str().into());
                }
            }
        }
        self.sign_create(creator, version, self.new_room_id(version), &content)
    }

    /// An id for a new room; none where the create event gives it.
    pub(crate) fn new_room_id(&self, version: RoomVersion) -> Option<OwnedRoomId> {
        let id_from_event = version.rules().authorization.room_create_event_id_as_room_id;
        (!id_from_event).then(|| RoomId::new_v1(&self.server_name))
    }

    /// Makes a create event of this content.
    pub(crate) fn sign_create(
        &self,
        creator: &UserId,
        version: RoomVersion,
        room_id: Option<OwnedRoomId>,
        content: &Map<String, Value>,
    ) -> Result<Arc<Pdu>, RoomError> {
        let draft = Draft {
            room_id,
            sender: creator.to_owned(),
            kind: "m.room.create".into(),
            state_key: Some(String::new()),
            content: raw(content)?,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: self.creation_time(),
        };
        let create = draft.sign(version, &self.server_name, &self.key)?;
        check_standalone(&create, |_| None)
            .map_err(|rejection| RoomError::BadContent(format!("creation_content: {rejection}")))?;
        Ok(Arc::new(create))
    }

    /// The time for a create event, never the same twice: where the room's id is made of the event, two rooms that
    /// somebody makes within one millisecond would be one.
    fn creation_time(&self) -> u64 {
        let now = self.clock.now_ms();
        let unique = |last: u64| Some(now.max(last + 1));
        let last = self.last_creation_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, unique);
        last.map_or(now, |last| now.max(last + 1))
    }

    /// Begins a room with its create event; it exists once the writer's batch is committed. Its events count from
    /// `first_index` within that commit.
    pub(crate) async fn found_room(
        self: &Arc<Self>,
        actor: Actor<'_>,
        version: RoomVersion,
        create: Arc<Pdu>,
        first_index: u16,
    ) -> Result<Writer, RoomError> {
        let mut writer = self.begin_new_room(version, create.room_id()).await?;
        self.permit(actor, &writer.view(), Action::Create).await?;
        writer.go_on_at(first_index);
        let stored = writer.add(create, None).await?;
        let room_type = room_type(&stored.pdu);
        writer.created_by(stored.nid, room_type.as_deref().map(Arc::from));
        let record = RoomRecord { version: version.id().clone(), create: stored.nid, room_type };
        // No two create events of this server are alike, see `creation_time`; should one be all the same, the
        // older room wins.
        writer.batch.expect_absent(&ROOMS, &writer.nid());
        writer.batch.put(&ROOMS, &writer.nid(), &Json(record));
        Ok(writer)
    }

    pub(crate) async fn begin_new_room(
        self: &Arc<Self>,
        version: RoomVersion,
        room: &RoomId,
    ) -> Result<Writer, RoomError> {
        let mut batch = Batch::default();
        let nid = RoomNid::new(self.store.interner().intern(&mut batch, NS_ROOM, room.as_str()).await?);
        self.check_open(nid)?;
        let head = Head {
            extremities: Vec::new(),
            depth: 0,
            state: Root::EMPTY,
            joined: 0,
            invited: 0,
            events: 0,
            bump: None,
            encrypted: false,
        };
        let view = RoomView {
            nid,
            id: room.to_owned(),
            version,
            create: EventNid::new(0),
            room_type: None,
            state: head.state,
            joined: 0,
            invited: 0,
            visibility: Visibility::Shared,
            public: false,
            policy: None,
            lifetime: self.retention.lifetime(&RetentionOf::default()),
            retention_set: None,
            template: None,
            activity: Activity::default(),
            end: Place::FIRST,
            servers: Arc::default(),
            head: Arc::new(head),
        };
        let mut writer = Writer::begin_room(Arc::clone(self), view);
        writer.batch.append(batch);
        // Whoever makes a room is about to say something.
        writer.note_activity();
        Ok(writer)
    }
}

impl Writer {
    /// Everything after the create event, in the order the specification gives.
    async fn furnish(&mut self, actor: Actor<'_>, version: RoomVersion, request: NewRoom) -> Result<(), RoomError> {
        let creator = actor.user;
        let profile = request.profile.clone();
        self.append(MemberChange { profile, ..MemberChange::new(creator, creator, "join") }.event()?).await?;
        let policy = self.engine.gate.policy_type().map(ToString::to_string);
        let levels = power_levels(creator, version, &request, policy);
        self.set(creator, "m.room.power_levels", &levels).await?;
        if let Some(alias) = &request.alias {
            let nid = self.nid();
            self.engine.put_alias(&mut self.batch, alias, nid, actor.nid);
            self.set(creator, "m.room.canonical_alias", &json!({ "alias": alias })).await?;
        }
        let preset = [
            ("m.room.join_rules", json!({ "join_rule": request.preset.join_rule() })),
            ("m.room.history_visibility", json!({ "history_visibility": "shared" })),
            ("m.room.guest_access", json!({ "guest_access": request.preset.guest_access() })),
        ];
        for (kind, content) in preset {
            if !request.initial_state.iter().any(|(given, key, _)| given == kind && key.is_empty()) {
                self.set(creator, kind, &content).await?;
            }
        }
        for (kind, state_key, content) in request.initial_state {
            self.append(NewEvent::state(creator.to_owned(), &kind, state_key, content)).await?;
        }
        if let Some(name) = request.name {
            self.set(creator, "m.room.name", &json!({ "name": name })).await?;
        }
        if let Some(topic) = request.topic {
            let rich = json!({ "m.text": [{ "body": topic }] });
            self.set(creator, "m.room.topic", &json!({ "topic": topic, "m.topic": rich })).await?;
        }
        let server_name = self.engine.server_name.clone();
        for (user, profile) in request.invite.into_iter().filter(|(user, _)| user.server_name() == server_name) {
            let is_direct = request.is_direct.then_some(true);
            let invite = MemberChange { profile, is_direct, ..MemberChange::new(creator, &user, "invite") };
            self.append(invite.event()?).await?;
        }
        if request.listed {
            let nid = self.nid();
            self.batch.put(&LISTED, &nid, &());
        }
        Ok(())
    }

    pub(crate) async fn set(&mut self, sender: &UserId, kind: &str, content: &Value) -> Result<(), RoomError> {
        self.append(NewEvent::state(sender.to_owned(), kind, "", raw(content)?)).await.map(drop)
    }
}

/// `type` of a create event (specification, section "Types").
pub(crate) fn room_type(create: &Pdu) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        r#type: Option<String>,
    }
    create.content_as::<Content>().ok().and_then(|content| content.r#type)
}

pub(crate) fn raw(content: &impl serde::Serialize) -> Result<Box<RawJsonValue>, RoomError> {
    to_raw_value(content).map_err(|error| RoomError::BadContent(error.to_string()))
}

/// Level to close a room where creators stand above every number: it is kept out of reach of ordinary admins.
pub(crate) const TOMBSTONE_LEVEL_OF_OWNERS: i64 = 150;

/// Content of the first power levels event.
fn power_levels(creator: &UserId, version: RoomVersion, request: &NewRoom, policy: Option<String>) -> Value {
    let privileged_creators = version.rules().authorization.explicitly_privilege_room_creators;
    let mut users = Map::new();
    if !privileged_creators {
        users.insert(creator.as_str().to_owned(), json!(100));
        if request.preset == Preset::TrustedPrivateChat {
            users.extend(request.invite.iter().map(|(user, _)| (user.as_str().to_owned(), json!(100))));
        }
    }
    let tombstone = if privileged_creators { TOMBSTONE_LEVEL_OF_OWNERS } else { 100 };
    let mut levels = json!({
        "ban": 50, "kick": 50, "redact": 50, "invite": request.preset.invite_level(),
        "state_default": 50, "events_default": 0, "users_default": 0,
        "users": users,
        "events": {
            "m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
            "m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.server_acl": 100,
            "m.room.encryption": 100, "m.room.tombstone": tombstone,
        },
        "notifications": { "room": 50 },
    });
    if let (Some(policy), Some(Value::Object(events))) = (policy, levels.get_mut("events")) {
        // Who may be in the room is not for moderators to say.
        events.insert(policy, json!(100));
    }
    if let Some(levels) = levels.as_object_mut() {
        levels.extend(request.power_levels.clone());
        let asked = request.power_levels.get("events").and_then(|events| events.get("m.room.tombstone")).is_some();
        if privileged_creators && !asked {
            // The levels that were asked for may have raised the default above what the preset says.
            if let Some(Value::Object(events)) = levels.get_mut("events") {
                events.remove("m.room.tombstone");
            }
            guard_tombstone(levels);
        }
    }
    levels
}

/// Where creators stand above every number, the level to close a room must be named, and be higher than that for other
/// state (specification, `POST /createRoom`). A level that is named stays.
pub(crate) fn guard_tombstone(levels: &mut Map<String, Value>) {
    let state_default = levels.get("state_default").and_then(Value::as_i64).unwrap_or(50);
    let level = TOMBSTONE_LEVEL_OF_OWNERS.max(state_default.saturating_add(1));
    if let Some(Value::Object(events)) = levels.get_mut("events") {
        events.entry("m.room.tombstone").or_insert(level.into());
    }
}
