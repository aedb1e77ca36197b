//! Room aliases, and which rooms are published (specification, "Room aliases" and "Published room directory").

mod public_rooms;

use ruma::{
    OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId,
    events::{StateEventType, TimelineEventType},
};
use wardroom_audit::Act;
use wardroom_event::{PowerLevels, level_for};
use wardroom_store::{Batch, CommitError, Json, Scan};

pub use self::public_rooms::{PUBLIC_ROOMS_PAGE_MAX, PublicPage, PublicQuery};
use crate::{
    Action, Actor, Engine, Rooms, Visibility,
    error::RoomError,
    ids::{RoomNid, UserNid},
    room::RoomView,
    tables::{ALIASES, AliasRecord, LISTED, Membership, ROOM_ALIASES},
};

/// Domain of the keyed hash of an alias.
const HASH_ALIAS: u8 = 4;
/// Longest alias, with its sigil and server name (specification, appendix "Room aliases").
const ALIAS_BYTES_MAX: usize = 255;
/// Aliases that one room may have.
const ALIASES_PER_ROOM_MAX: usize = 1_000;

impl Engine {
    /// Whether an alias may be given by this server.
    pub(crate) fn check_alias(&self, alias: &RoomAliasId) -> Result<(), RoomError> {
        let problem = if alias.as_bytes().len() > ALIAS_BYTES_MAX {
            format!("must not be longer than {ALIAS_BYTES_MAX} bytes")
        } else if alias.server_name() != self.server_name {
            format!("must end in :{}", self.server_name)
        } else if alias.alias().is_empty() || alias.alias().contains('\0') {
            "must have a name without NUL".to_owned()
        } else {
            return Ok(());
        };
        Err(RoomError::InvalidParam(format!("room_alias: the alias {problem}.")))
    }

    fn alias_hash(&self, alias: &RoomAliasId) -> [u8; 16] {
        self.store.keyed_hash(HASH_ALIAS, alias.as_bytes())
    }

    /// Gives a room an alias as part of a batch, which fails where the alias is in use. The alias has passed
    /// [`Engine::check_alias`].
    pub(crate) fn put_alias(&self, batch: &mut Batch, alias: &RoomAliasId, room: RoomNid, creator: UserNid) {
        let hash = self.alias_hash(alias);
        batch.expect_absent(&ALIASES, &hash);
        batch.put(&ALIASES, &hash, &Json(AliasRecord { alias: alias.to_owned(), room, creator }));
        batch.put(&ROOM_ALIASES, &(room, hash), &());
    }

    /// Leads the aliases of a room to another one as part of a batch. The caller holds `alias_changes` until the batch
    /// is committed.
    pub(crate) async fn move_aliases(&self, batch: &mut Batch, from: RoomNid, to: RoomNid) -> Result<(), RoomError> {
        let store = self.store.latest();
        let keys = store.scan_keys(&ROOM_ALIASES, Scan::prefix(&from).limit(ALIASES_PER_ROOM_MAX)).await?;
        let hashes: Vec<_> = keys.into_iter().map(|(_, hash)| hash).collect();
        let records = store.multi_get(&ALIASES, &hashes).await?;
        for (hash, record) in hashes.into_iter().zip(records) {
            batch.delete(&ROOM_ALIASES, &(from, hash));
            if let Some(Json(record)) = record {
                batch.put(&ALIASES, &hash, &Json(AliasRecord { room: to, ..record }));
                batch.put(&ROOM_ALIASES, &(to, hash), &());
            }
        }
        Ok(())
    }

    /// Whether somebody could send the room's `m.room.canonical_alias`: who may, decides over its names.
    async fn may_name(&self, actor: Actor<'_>, room: &RoomView) -> Result<bool, RoomError> {
        let levels = self.state_event(room.nid, room.state, &StateEventType::RoomPowerLevels, "").await?;
        let create = self.event(room.nid, room.create).await?;
        let create = create.ok_or_else(|| RoomError::inconsistent("room without create event"))?;
        let levels = levels.as_ref().map(|stored| &*stored.pdu);
        let kind = TimelineEventType::RoomCanonicalAlias;
        let needed = level_for(levels, wardroom_event::Action::SetState(&kind));
        Ok(PowerLevels::new(levels, &create.pdu).of(actor.user).reaches(needed))
    }
}

impl Rooms {
    /// Gives a room an alias. Members may.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where the alias is not one that this server gives, [`RoomError::AliasInUse`] where
    /// it leads somewhere already, be it to the same room.
    pub async fn set_alias(&self, actor: Actor<'_>, alias: &RoomAliasId, room: &RoomId) -> Result<(), RoomError> {
        self.engine.check_alias(alias)?;
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.engine.permit(actor, &view, Action::Name).await?;
        let _alone = self.engine.alias_changes.lock().await;
        let store = &self.engine.store;
        let there = Scan::prefix(&view.nid).limit(ALIASES_PER_ROOM_MAX);
        if store.latest().scan_keys(&ROOM_ALIASES, there).await?.len() >= ALIASES_PER_ROOM_MAX {
            return Err(RoomError::Forbidden(format!("A room can have {ALIASES_PER_ROOM_MAX} aliases at most.")));
        }
        let mut batch = Batch::default();
        self.engine.put_alias(&mut batch, alias, view.nid, actor.nid);
        self.engine.record_change(&mut batch, Act::RoomChange, room, "alias.set");
        match store.commit(batch).await {
            Err(CommitError::Conflict { .. }) => Err(RoomError::AliasInUse),
            done => Ok(done.map(drop)?),
        }
    }

    /// Takes an alias away: its creator may, and who has the power to send `m.room.canonical_alias`. Where the actor has
    /// that power, the alias is taken out of that event too.
    pub async fn remove_alias(&self, actor: Actor<'_>, alias: &RoomAliasId) -> Result<(), RoomError> {
        const NO_SUCH_ALIAS: RoomError = RoomError::NotFound("There is no such room alias.");
        let hash = self.engine.alias_hash(alias);
        let _alone = self.engine.alias_changes.lock().await;
        let store = &self.engine.store;
        let found = store.latest().get_versioned(&ALIASES, &hash).await?;
        let (Json(record), written) = found.ok_or(NO_SUCH_ALIAS)?;
        let view = self.view_of(record.room).await?;
        self.engine.permit(actor, &view, Action::Name).await?;
        if record.creator != actor.nid && !self.engine.may_name(actor, &view).await? {
            return Err(RoomError::Forbidden("You may not remove this room alias.".to_owned()));
        }
        let mut batch = Batch::default();
        batch.expect_version(&ALIASES, &hash, Some(written));
        batch.delete(&ALIASES, &hash);
        batch.delete(&ROOM_ALIASES, &(record.room, hash));
        self.engine.record_change(&mut batch, Act::RoomChange, &view.id, "alias.remove");
        match store.commit(batch).await {
            // Somebody else was faster.
            Err(CommitError::Conflict { .. }) => return Err(NO_SUCH_ALIAS),
            done => done.map(drop)?,
        }
        self.forget_canonical_alias(actor, &view, alias).await
    }

    /// Takes an alias out of the room's `m.room.canonical_alias`, if the actor may send that.
    async fn forget_canonical_alias(
        &self,
        actor: Actor<'_>,
        view: &RoomView,
        alias: &RoomAliasId,
    ) -> Result<(), RoomError> {
        let kind = StateEventType::RoomCanonicalAlias;
        let Some(current) = self.engine.state_event(view.nid, view.state, &kind, "").await? else { return Ok(()) };
        let Ok(mut content) = current.pdu.content_as::<serde_json::Map<String, serde_json::Value>>() else {
            return Ok(());
        };
        let before = content.clone();
        if content.get("alias").is_some_and(|named| named == alias.as_str()) {
            content.remove("alias");
        }
        if let Some(others) = content.get_mut("alt_aliases").and_then(serde_json::Value::as_array_mut) {
            others.retain(|other| other != alias.as_str());
        }
        if content == before || !self.engine.may_name(actor, view).await? {
            return Ok(());
        }
        let content = serde_json::value::to_raw_value(&content);
        let content = content.map_err(|error| RoomError::BadContent(error.to_string()))?;
        match self.set_state(actor, &view.id, &kind, "", content).await {
            // Somebody took the power away, or the actor left, in this moment: the alias is gone all the same.
            Err(RoomError::Forbidden(_)) => Ok(()),
            done => done.map(drop),
        }
    }

    /// The room that an alias of this server leads to.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<OwnedRoomId>, RoomError> {
        match self.engine.store.latest().get(&ALIASES, &self.engine.alias_hash(alias)).await? {
            Some(record) => Ok(Some(self.view_of(record.0.room).await?.id.clone())),
            None => Ok(None),
        }
    }

    /// This server's aliases of a room, in alphabetical order, for its members; for everybody where the room is
    /// world-readable.
    pub async fn aliases_of(&self, actor: Actor<'_>, room: &RoomId) -> Result<Vec<OwnedRoomAliasId>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let entry = self.engine.permit(actor, &view, Action::Read).await?;
        let joined = entry.is_some_and(|entry| entry.membership == Membership::Join);
        if !joined && view.visibility != Visibility::WorldReadable {
            return Err(RoomError::Forbidden("You are not in this room.".to_owned()));
        }
        let store = self.engine.store.latest();
        let keys = store.scan_keys(&ROOM_ALIASES, Scan::prefix(&view.nid).limit(ALIASES_PER_ROOM_MAX)).await?;
        let hashes: Vec<_> = keys.into_iter().map(|(_, hash)| hash).collect();
        let records = store.multi_get(&ALIASES, &hashes).await?;
        let mut aliases: Vec<_> = records.into_iter().flatten().map(|record| record.0.alias).collect();
        aliases.sort_unstable();
        Ok(aliases)
    }

    /// Publishes a room in the directory, or takes it out. Needs the power to send `m.room.canonical_alias`.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, as the specification asks for here.
    pub async fn set_listed(&self, actor: Actor<'_>, room: &RoomId, listed: bool) -> Result<(), RoomError> {
        let view = self.view(room).await?.ok_or(NO_SUCH_ROOM)?;
        self.engine.permit(actor, &view, Action::Name).await?;
        if !self.engine.may_name(actor, &view).await? {
            return Err(RoomError::Forbidden("You may not publish this room or take it back.".to_owned()));
        }
        if self.engine.is_listed(view.nid).await? == listed {
            return Ok(());
        }
        let mut batch = Batch::default();
        if listed {
            batch.put(&LISTED, &view.nid, &());
        } else {
            batch.delete(&LISTED, &view.nid);
        }
        let what = if listed { "directory.list" } else { "directory.unlist" };
        self.engine.record_change(&mut batch, Act::RoomChange, room, what);
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// Whether a room is published in the directory. Anybody may ask.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room.
    pub async fn is_listed(&self, room: &RoomId) -> Result<bool, RoomError> {
        let view = self.view(room).await?.ok_or(NO_SUCH_ROOM)?;
        self.engine.is_listed(view.nid).await
    }
}

/// The directory tells everybody whether a room exists (specification, `/directory/list/room/{roomId}`).
const NO_SUCH_ROOM: RoomError = RoomError::NotFound("There is no such room.");

impl Engine {
    pub(crate) async fn is_listed(&self, room: RoomNid) -> Result<bool, RoomError> {
        Ok(self.store.latest().get(&LISTED, &room).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{RoomAliasId, room_alias_id, room_id, user_id};

    use crate::{
        MemberProfile, Preset, RoomError,
        tests::{World, new_room, run},
    };

    #[test]
    fn an_alias_leads_to_its_room_until_it_is_removed() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let eve = world.person(user_id!("@eve:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let other = world.rooms.create(eve.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let (ward, by_bob) = (room_alias_id!("#ward-7:a.example"), room_alias_id!("#стация:a.example"));

            assert_eq!(world.rooms.resolve_alias(ward).await.unwrap(), None);
            world.rooms.set_alias(alice.actor(), ward, &room).await.unwrap();
            world.rooms.set_alias(bob.actor(), by_bob, &room).await.unwrap();
            assert_eq!(world.rooms.resolve_alias(ward).await.unwrap(), Some(room.clone()));
            for target in [&room, &other] {
                let again = world.rooms.set_alias(eve.actor(), ward, target).await;
                let wanted = if target == &room { "You are not in this room." } else { "the alias is in use" };
                assert_eq!(again.unwrap_err().to_string(), wanted);
            }
            assert_eq!(world.rooms.aliases_of(bob.actor(), &room).await.unwrap(), [ward, by_bob]);
            assert!(matches!(world.rooms.aliases_of(eve.actor(), &room).await, Err(RoomError::Forbidden(_))));

            assert!(matches!(world.rooms.remove_alias(bob.actor(), ward).await, Err(RoomError::Forbidden(_))));
            assert!(matches!(world.rooms.remove_alias(eve.actor(), ward).await, Err(RoomError::Forbidden(_))));
            world.rooms.remove_alias(alice.actor(), by_bob).await.unwrap();
            world.rooms.remove_alias(alice.actor(), ward).await.unwrap();
            assert!(matches!(world.rooms.remove_alias(alice.actor(), ward).await, Err(RoomError::NotFound(_))));
            assert_eq!(world.rooms.resolve_alias(ward).await.unwrap(), None);
            assert!(world.rooms.aliases_of(bob.actor(), &room).await.unwrap().is_empty());
            world.rooms.set_alias(eve.actor(), ward, &other).await.unwrap();
            assert_eq!(world.rooms.resolve_alias(ward).await.unwrap(), Some(other));
        });
    }

    #[test]
    fn its_creator_removes_an_alias_without_power() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room("11", Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let alias = room_alias_id!("#bobs:a.example");
            world.rooms.set_alias(bob.actor(), alias, &room).await.unwrap();
            world.rooms.remove_alias(bob.actor(), alias).await.unwrap();
            assert_eq!(world.rooms.resolve_alias(alias).await.unwrap(), None);
        });
    }

    #[test]
    fn foreign_nameless_and_overlong_aliases_are_refused() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let longest = format!("#{}:a.example", "x".repeat(255 - "#:a.example".len()));
            let overlong = format!("#{}:a.example", "x".repeat(256 - "#:a.example".len()));
            for alias in ["#x:b.example", "#x:A.example", "#:a.example", &overlong] {
                let Ok(alias) = <&RoomAliasId>::try_from(alias) else { continue };
                assert!(
                    matches!(world.rooms.set_alias(alice.actor(), alias, &room).await, Err(RoomError::InvalidParam(_))),
                    "{alias}"
                );
            }
            let longest = <&RoomAliasId>::try_from(longest.as_str()).unwrap();
            world.rooms.set_alias(alice.actor(), longest, &room).await.unwrap();
        });
    }

    #[test]
    fn one_of_many_gets_the_alias() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let alias = room_alias_id!("#wanted:a.example");
            let tries = (0..8).map(|_| world.rooms.set_alias(alice.actor(), alias, &room));
            let done = futures_util::future::join_all(tries).await;
            assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
            assert!(
                done.iter().filter_map(|done| done.as_ref().err()).all(|error| matches!(error, RoomError::AliasInUse))
            );
        });
    }

    #[test]
    fn publishing_needs_power() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room("10", Preset::PublicChat)).await.unwrap();
            assert!(matches!(world.rooms.set_listed(bob.actor(), &room, true).await, Err(RoomError::Forbidden(_))));
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            assert!(matches!(world.rooms.set_listed(bob.actor(), &room, true).await, Err(RoomError::Forbidden(_))));
            assert!(!world.rooms.is_listed(&room).await.unwrap());
            for listed in [true, true, false] {
                world.rooms.set_listed(alice.actor(), &room, listed).await.unwrap();
                assert_eq!(world.rooms.is_listed(&room).await.unwrap(), listed);
            }
            let nowhere = room_id!("!nowhere:a.example");
            assert!(matches!(world.rooms.is_listed(nowhere).await, Err(RoomError::NotFound(_))));
            assert!(matches!(world.rooms.set_listed(bob.actor(), nowhere, true).await, Err(RoomError::NotFound(_))));
        });
    }
}
