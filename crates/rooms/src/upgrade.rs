//! Replacing a room by one of another version (specification, "Room upgrades"). The new room with its state, the aliases
//! and the listing that move, and the end of the old room are one commit.

mod carry;

use std::{collections::BTreeSet, sync::Arc};

use futures_util::FutureExt as _;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId, events::StateEventType};
use serde_json::{Map, Value, json};
use wardroom_event::{PowerLevels, RoomVersion};
use wardroom_store::{Batch, Scan};

use self::carry::{Levels, carried_join_rules, closed_levels, creators_of};
use crate::{
    Action, Actor, Engine, Rooms,
    create::raw,
    error::RoomError,
    ids::{NS_USER, RoomNid, UserNid},
    membership::{MemberChange, MemberProfile},
    retention::RETENTION_TYPES,
    room::RoomView,
    summary::content,
    tables::{LISTED, MEMBERS, Membership},
    trie::StateWhich,
    writer::{NewEvent, Writer},
};

/// Users that one request may make creators besides its sender.
pub const ADDITIONAL_CREATORS_MAX: usize = 500;
/// Children of a space that its replacement gets.
const CHILDREN_CARRIED_MAX: usize = 5_000;
/// Bans that a replacement gets.
const BANS_CARRIED_MAX: usize = 5_000;
/// What the tombstone tells people whose clients do not know tombstones.
const TOMBSTONE_BODY: &str = "This room has been replaced.";

/// State that the new room gets, in this order: who may do what there first, so that nothing else is ever less guarded
/// than it was.
const CARRIED_TYPES: [StateEventType; 8] = [
    StateEventType::RoomJoinRules,
    StateEventType::RoomHistoryVisibility,
    StateEventType::RoomGuestAccess,
    StateEventType::RoomServerAcl,
    StateEventType::RoomEncryption,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
];

/// A room upgrade that is asked for.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Version of the new room.
    pub version: RoomVersionId,
    /// Who besides the upgrading user is a creator of the new room, in versions that know such.
    pub additional_creators: Vec<OwnedUserId>,
    /// The upgrading user's profile.
    pub profile: MemberProfile,
}

/// A room and the one that it replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The room that was replaced.
    pub old: (RoomNid, OwnedRoomId),
    /// The room that replaces it.
    pub new: RoomNid,
}

/// An upgrade in the making.
struct Plan {
    sender: OwnedUserId,
    nid: UserNid,
    version: RoomVersion,
    additional_creators: Vec<OwnedUserId>,
    profile: MemberProfile,
}

/// What the new room gets from the old one.
struct Inheritance {
    create: Map<String, Value>,
    levels: Levels,
    /// Type, state key and content.
    state: Vec<(StateEventType, String, Map<String, Value>)>,
    bans: Vec<(OwnedUserId, Option<String>)>,
    canonical_alias: Option<Map<String, Value>>,
    listed: bool,
}

impl Rooms {
    /// Replaces a room by a new one of another version, whose id is returned. Takes the power to send
    /// `m.room.tombstone`.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, [`RoomError::Forbidden`] where the user may not,
    /// [`RoomError::UnsupportedVersion`], [`RoomError::InvalidParam`] for too many creators.
    pub async fn upgrade(&self, actor: Actor<'_>, room: &RoomId, request: Upgrade) -> Result<OwnedRoomId, RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        let view = found.view();
        let action = Action::Send { kind: "m.room.tombstone", state_key: Some("") };
        self.engine.permit(actor, &view, action).await?;
        self.engine.may_end(actor.user, &view).await?;
        let version = RoomVersion::new(&request.version).ok_or_else(|| RoomError::unsupported(&request.version))?;
        if request.additional_creators.len() > ADDITIONAL_CREATORS_MAX {
            let sentence = format!("additional_creators: at most {ADDITIONAL_CREATORS_MAX} users are allowed.");
            return Err(RoomError::InvalidParam(sentence));
        }
        // Who acts for the server in a room with a policy does so in the one that replaces it, above everybody.
        let own_user = self.engine.gate.own_user().filter(|_| view.policy.is_some()).map(ToOwned::to_owned);
        let mut additional_creators = request.additional_creators;
        additional_creators.extend(own_user);
        let plan = Plan {
            sender: actor.user.to_owned(),
            nid: actor.nid,
            version,
            additional_creators,
            profile: request.profile,
        };
        // Until the commit: the aliases that are moved must still be this room's then.
        let _alone = self.engine.alias_changes.lock().await;
        self.engine.write(&found, move |writer| async move { writer.replace_room(&plan).await }.boxed()).await
    }

    /// The room that a room replaced, if it did and the user was in it. Both rooms have to say so: anybody may claim to
    /// replace a room.
    pub async fn replaced_by(&self, room: &RoomId, user: UserNid) -> Result<Option<Replaced>, RoomError> {
        let Some(view) = self.view(room).await? else { return Ok(None) };
        let create = self.engine.event(view.nid, view.create).await?.and_then(|create| content(&create.pdu));
        let predecessor = create.as_ref().and_then(|create| create.get("predecessor")?.get("room_id")?.as_str());
        let Some(old) = predecessor.and_then(|id| <&RoomId>::try_from(id).ok()) else { return Ok(None) };
        let Some(old) = self.view(old).await? else { return Ok(None) };
        let entry = self.engine.membership(user, old.nid).await?;
        let tombstone = self.engine.state_event(old.nid, old.state, &StateEventType::RoomTombstone, "").await?;
        let tombstone = tombstone.and_then(|tombstone| content(&tombstone.pdu));
        let successor = tombstone.as_ref().and_then(|tombstone| tombstone.get("replacement_room")?.as_str());
        let replaced = successor == Some(room.as_str()) && entry.is_some_and(|entry| entry.was_joined);
        Ok(replaced.then(|| Replaced { old: (old.nid, old.id.clone()), new: view.nid }))
    }

    /// Leads this server's aliases of a room, and its place in the directory, to the room that replaced it. The server
    /// that replaces a room does so at once; others, when somebody of theirs goes on in the new room.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn carry_names(&self, replaced: &Replaced) -> Result<(), RoomError> {
        let (old, new) = (replaced.old.0, replaced.new);
        // Until the commit: the aliases that are moved must still be the old room's then.
        let _alone = self.engine.alias_changes.lock().await;
        let mut batch = Batch::default();
        self.engine.move_aliases(&mut batch, old, new).await?;
        if self.engine.is_listed(old).await? {
            batch.delete(&LISTED, &old);
            batch.put(&LISTED, &new, &());
        }
        if !batch.is_empty() {
            self.engine.store.commit(batch).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// Refuses who may not end a room. The authorization rules say it again; this says it before anything is made.
    async fn may_end(&self, user: &UserId, room: &RoomView) -> Result<(), RoomError> {
        let levels = self.state_event(room.nid, room.state, &StateEventType::RoomPowerLevels, "").await?;
        let create = self.event(room.nid, room.create).await?;
        let create = create.ok_or_else(|| RoomError::inconsistent("room without create event"))?;
        let levels = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        let tombstone = "m.room.tombstone".into();
        if levels.of(user).reaches(levels.required(wardroom_event::Action::SetState(&tombstone))) {
            return Ok(());
        }
        Err(RoomError::Forbidden("You do not have the power to replace this room.".to_owned()))
    }
}

impl Writer {
    /// Makes the new room, leads everything there, and ends this one.
    async fn replace_room(&mut self, plan: &Plan) -> Result<OwnedRoomId, RoomError> {
        let engine = Arc::clone(&self.engine);
        let mut inherited = self.inheritance(plan).await?;
        // Where the id of a room is made of its create event, that event cannot name the tombstone that names the
        // room; elsewhere it does.
        let (room_id, mut tombstone) = match engine.new_room_id(plan.version) {
            None => (None, None),
            Some(id) => {
                let tombstone = self.prepare(tombstone(plan, &id)?).await?;
                (Some(id), Some(tombstone))
            }
        };
        let mut predecessor = json!({ "room_id": self.view().id });
        if let Some(tombstone) = &tombstone {
            predecessor["event_id"] = tombstone.event_id().as_str().into();
        }
        inherited.create.insert("predecessor".to_owned(), predecessor);
        let create = engine.sign_create(&plan.sender, plan.version, room_id, &inherited.create)?;
        let actor = Actor { user: &plan.sender, nid: plan.nid, device: None, guest: false };
        let mut new = engine.found_room(actor, plan.version, create, self.next_index()).await?;
        new.inherit(plan, &inherited).await?;
        new.inherit_retention(self).await?;
        let id = new.view().id;
        let tombstone = match tombstone.take() {
            Some(tombstone) => tombstone,
            None => self.prepare(self::tombstone(plan, &id)?).await?,
        };
        let (nid, next_index) = (new.nid(), new.next_index());
        let batch = new.into_batch()?;
        // From here on this room changes, too: what fails now fails the whole group.
        self.go_on_at(next_index);
        self.accept(tombstone, None).await?;
        self.batch.append(batch);
        if let Err(failure) = self.close(plan, &inherited, nid).await {
            self.fail(failure.clone());
            return Err(failure);
        }
        Ok(id)
    }

    /// Reads what the new room is to get.
    async fn inheritance(&self, plan: &Plan) -> Result<Inheritance, RoomError> {
        let create = self.state_event(&StateEventType::RoomCreate, "").await?;
        let create = create.ok_or_else(|| RoomError::inconsistent("room without create event"))?;
        let levels = self.state_event(&StateEventType::RoomPowerLevels, "").await?;
        let mut state = Vec::new();
        let policy = self.engine.gate.policy_type().cloned();
        for kind in CARRIED_TYPES.into_iter().chain(RETENTION_TYPES.map(StateEventType::from)).chain(policy) {
            let Some(stored) = self.state_event(&kind, "").await? else { continue };
            let mut fields = content(&stored.pdu).unwrap_or_default();
            if kind == StateEventType::RoomJoinRules {
                carried_join_rules(&mut fields, plan.version);
            }
            // What was redacted or emptied is not there any more.
            if !fields.is_empty() {
                state.push((kind, String::new(), fields));
            }
        }
        let old_create = content(&create.pdu).unwrap_or_default();
        let is_space = old_create.get("type").and_then(Value::as_str) == Some("m.space");
        state.extend(self.relatives(is_space).await?);
        let alias = self.state_event(&StateEventType::RoomCanonicalAlias, "").await?;
        let bans = self.bans().await?;
        let new_create = new_create(plan, &old_create);
        let kinds = state.iter().map(|(kind, ..)| kind).chain([&StateEventType::RoomCanonicalAlias]);
        let kinds: BTreeSet<String> = kinds.map(ToString::to_string).collect();
        let old_levels = levels.as_ref().map(|stored| &*stored.pdu);
        Ok(Inheritance {
            levels: Levels {
                old: old_levels.and_then(content),
                old_version: create.pdu.version(),
                old_creators: creators_of(&create.pdu),
                new_version: plan.version,
                new_creators: plan.additional_creators.iter().cloned().chain([plan.sender.clone()]).collect(),
                sender: plan.sender.clone(),
                sender_power: PowerLevels::new(old_levels, &create.pdu).of(&plan.sender),
                kinds,
            },
            create: new_create,
            state,
            bans,
            canonical_alias: alias.and_then(|alias| content(&alias.pdu)).filter(|fields| !fields.is_empty()),
            listed: self.engine.is_listed(self.nid()).await?,
        })
    }

    /// The room's parents, and a space's children.
    async fn relatives(&self, is_space: bool) -> Result<Vec<(StateEventType, String, Map<String, Value>)>, RoomError> {
        let wanted: &[StateEventType] = if is_space {
            &[StateEventType::SpaceParent, StateEventType::SpaceChild]
        } else {
            &[StateEventType::SpaceParent]
        };
        let base = self.base_state();
        let events = self.engine.state(self.nid(), base, StateWhich::WithoutMembers).await?;
        let fresh = self.fresh_events();
        let mut keys: BTreeSet<(StateEventType, String)> = BTreeSet::new();
        for stored in events.iter().chain(&fresh) {
            let kind = StateEventType::from(stored.pdu.kind().to_string());
            if wanted.contains(&kind)
                && let Some(key) = stored.pdu.state_key()
            {
                keys.insert((kind, key.to_owned()));
            }
        }
        let mut relatives = Vec::new();
        for (kind, key) in keys.into_iter().take(CHILDREN_CARRIED_MAX) {
            let fields = self.state_event(&kind, &key).await?.and_then(|stored| content(&stored.pdu));
            // Without `via` it is a relative that was taken away.
            if let Some(fields) = fields.filter(|fields| fields.contains_key("via")) {
                relatives.push((kind, key, fields));
            }
        }
        Ok(relatives)
    }

    /// Who is kept out, and why.
    async fn bans(&self) -> Result<Vec<(OwnedUserId, Option<String>)>, RoomError> {
        let scan = Scan::prefix(&(self.nid(), Membership::Ban as u8)).limit(BANS_CARRIED_MAX);
        let keys = self.engine.store.latest().scan_keys(&MEMBERS, scan).await?;
        let users: BTreeSet<UserNid> =
            keys.into_iter().map(|(_, _, user)| user).chain(self.memberships.keys().copied()).collect();
        let numbers: Vec<u64> = users.into_iter().map(UserNid::get).collect();
        let names = self.engine.store.interner().resolve_many(NS_USER, &numbers).await?;
        let mut bans = Vec::new();
        for user in names.into_iter().flatten().filter_map(|name| OwnedUserId::try_from(&*name).ok()) {
            let Some(stored) = self.state_event(&StateEventType::RoomMember, user.as_str()).await? else { continue };
            if stored.pdu.membership().as_ref().map(Membership::from) == Some(Membership::Ban) {
                let reason = content(&stored.pdu).and_then(|fields| Some(fields.get("reason")?.as_str()?.to_owned()));
                bans.push((user, reason));
            }
        }
        Ok(bans)
    }

    /// Fills the new room.
    async fn inherit(&mut self, plan: &Plan, inherited: &Inheritance) -> Result<(), RoomError> {
        let sender = &*plan.sender;
        let join = MemberChange { profile: plan.profile.clone(), ..MemberChange::new(sender, sender, "join") };
        self.append(join.event()?).await?;
        let (first, last) = inherited.levels.carried();
        self.set(sender, "m.room.power_levels", &first.into()).await?;
        for (kind, key, fields) in &inherited.state {
            let new = NewEvent::state(plan.sender.clone(), &kind.to_string(), key, raw(fields)?);
            self.append(new).await?;
        }
        if let Some(alias) = &inherited.canonical_alias {
            self.set(sender, "m.room.canonical_alias", &alias.clone().into()).await?;
        }
        for (user, reason) in &inherited.bans {
            let ban = MemberChange { reason: reason.clone(), ..MemberChange::new(sender, user, "ban") };
            match self.append(ban.event()?).await {
                // Somebody whom the levels still name as more powerful than the sender.
                Ok(_) | Err(RoomError::Forbidden(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(last) = last {
            self.set(sender, "m.room.power_levels", &last.into()).await?;
        }
        Ok(())
    }

    /// Leads aliases and listing to the new room and keeps people from going on here, as far as the sender may.
    async fn close(&mut self, plan: &Plan, inherited: &Inheritance, new: RoomNid) -> Result<(), RoomError> {
        let (engine, old) = (Arc::clone(&self.engine), self.nid());
        engine.move_aliases(&mut self.batch, old, new).await?;
        if inherited.listed {
            self.batch.delete(&LISTED, &old);
            self.batch.put(&LISTED, &new, &());
        }
        if inherited.canonical_alias.is_some() {
            self.set_if_allowed(&plan.sender, "m.room.canonical_alias", Map::new()).await?;
        }
        // Levels where there were none would take the creator's power away.
        let Some(levels) = inherited.levels.old.clone().map(closed_levels) else { return Ok(()) };
        self.set_if_allowed(&plan.sender, "m.room.power_levels", levels).await
    }

    async fn set_if_allowed(
        &mut self,
        sender: &UserId,
        kind: &str,
        fields: Map<String, Value>,
    ) -> Result<(), RoomError> {
        match self.set(sender, kind, &fields.into()).await {
            Err(RoomError::Forbidden(_)) => Ok(()),
            done => done,
        }
    }
}

fn tombstone(plan: &Plan, new: &RoomId) -> Result<NewEvent, RoomError> {
    let content = raw(&json!({ "body": TOMBSTONE_BODY, "replacement_room": new }))?;
    Ok(NewEvent::state(plan.sender.clone(), "m.room.tombstone", "", content))
}

/// Content of the new room's create event, but for its predecessor.
fn new_create(plan: &Plan, old: &Map<String, Value>) -> Map<String, Value> {
    let rules = &plan.version.rules().authorization;
    let mut fields = Map::new();
    fields.insert("room_version".to_owned(), plan.version.as_str().into());
    for kept in ["type", "m.federate"] {
        fields.extend(old.get(kept).map(|value| (kept.to_owned(), value.clone())));
    }
    if !rules.use_room_create_sender {
        fields.insert("creator".to_owned(), plan.sender.as_str().into());
    }
    let others: BTreeSet<&UserId> =
        plan.additional_creators.iter().map(|user| &**user).filter(|user| *user != plan.sender).collect();
    if rules.additional_room_creators && !others.is_empty() {
        fields.insert("additional_creators".to_owned(), others.into_iter().map(UserId::as_str).collect());
    }
    fields
}

#[cfg(test)]
mod tests;
