//! Deleting rooms: everybody of this server is taken out, and, where that is wanted, everything that this server has of
//! the room is destroyed.

mod erase;

use std::collections::HashSet;

use parking_lot::Mutex;
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_audit::Act;
use wardroom_store::{Batch, Json, Scan};

use crate::{
    Actor, Engine, NewRoom, Preset, Rooms,
    ends::RoomEnd,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tables::{ALIASES, AliasRecord, Head, LISTED, Membership, ROOM_ALIASES, RoomRecord},
    tasks::{Profiles, Task, Work},
};

/// Members read at a time.
const MEMBERS_PAGE: usize = 1_000;
/// Users after whom it is written down how far the task got.
const SAVED_EVERY: usize = 500;
/// Aliases that are led elsewhere in one commit.
const ALIASES_PAGE: usize = 1_000;
/// Name of the room in which users find themselves, where none was given.
const ROOM_NAME_DEFAULT: &str = "Content Violation Notification";
/// What they are told there, where nothing else was given.
const MESSAGE_DEFAULT: &str =
    "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.";
/// Power of those who are moved: they read, and say nothing.
const MOVED_USERS_LEVEL: i64 = -10;

/// The deletion of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomDeletion {
    /// The room.
    pub room: OwnedRoomId,
    /// Who wants it.
    pub requested_by: OwnedUserId,
    /// The number of who wants it.
    pub requester: UserNid,
    /// Nobody may join it any more.
    pub block: bool,
    /// Everything that is known of it is destroyed.
    pub purge: bool,
    /// Even if users of this server cannot be taken out of it.
    pub force: bool,
    /// Who makes a room for those who are taken out, and the number of that user; none for no such room.
    pub new_room_user: Option<(OwnedUserId, UserNid)>,
    /// Name of that room.
    pub new_room_name: Option<String>,
    /// What those who are moved there are told.
    pub message: Option<String>,
    /// The room has ended by itself, for this reason: it stays where that is not so any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RoomEnd>,
    /// What was done.
    #[serde(default)]
    pub done: Removed,
}

impl RoomDeletion {
    /// Destroys a room, with nowhere for its users to go: nothing has been done of it yet.
    pub fn new(room: OwnedRoomId, requested_by: OwnedUserId, requester: UserNid) -> Self {
        Self {
            room,
            requested_by,
            requester,
            block: false,
            purge: true,
            force: false,
            new_room_user: None,
            new_room_name: None,
            message: None,
            end: None,
            done: Removed::default(),
        }
    }
}

/// What was done to delete a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Users who were taken out.
    pub kicked: Vec<OwnedUserId>,
    /// Users who could not be taken out.
    pub stayed: Vec<OwnedUserId>,
    /// Aliases of this server that led to the room.
    pub aliases: Vec<OwnedRoomAliasId>,
    /// The room to which users and aliases were moved.
    pub new_room: Option<OwnedRoomId>,
    /// From here on the room is gone, and what is left of it is being destroyed.
    pub closed: bool,
    /// What was taken away then, until its contents are destroyed: a hold that comes before gets the room back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken: Option<Taken>,
}

/// Without which nobody finds a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    record: RoomRecord,
    head: Head,
    /// It has an access policy.
    governed: bool,
}

/// Rooms that are being destroyed: nobody finds them any more.
#[derive(Debug, Default)]
pub(crate) struct Closed(Mutex<HashSet<RoomNid>>);

impl Closed {
    pub(crate) fn has(&self, room: RoomNid) -> bool {
        self.0.lock().contains(&room)
    }
}

fn deletion(task: &mut Task) -> Result<&mut RoomDeletion, RoomError> {
    match &mut task.work {
        Work::DeleteRoom(deletion) => Ok(deletion),
        _ => Err(RoomError::inconsistent("a task of another kind")),
    }
}

impl Rooms {
    /// Has a room deleted; answers the id of the task. Where the room is to be blocked, it is when this returns.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where it is being deleted already, or is not known here and not to be blocked;
    /// [`RoomError::Held`] where it is to be purged and a legal hold keeps it.
    pub async fn delete_room(&self, deletion: RoomDeletion) -> Result<String, RoomError> {
        if !deletion.block && self.view(&deletion.room).await?.is_none() {
            return Err(RoomError::InvalidParam("room_id: this server does not know that room.".to_owned()));
        }
        if let Some(view) = self.view(&deletion.room).await?.filter(|_| deletion.purge) {
            self.engine.check_not_held(&self.engine.holds.nothing_changes().await, (&view.id, view.nid)).await?;
        }
        let mut batch = Batch::default();
        if deletion.block {
            self.engine.put_block(&mut batch, &deletion.room, deletion.requester).await?;
        }
        let room = deletion.room.clone();
        self.engine.record_change(&mut batch, Act::RoomDelete, &room, "begin");
        self.add_task(batch, Work::DeleteRoom(Box::new(deletion)), |work| work.room() == Some(&*room)).await
    }

    /// Keeps a room that a task has begun to destroy from being found.
    pub(crate) async fn keep_closed(&self, task: &Task) {
        if let Work::DeleteRoom(deletion) = &task.work
            && deletion.done.closed
            && let Ok(Some(nid)) = self.room_nid(&deletion.room).await
        {
            self.engine.closed.0.lock().insert(nid);
        }
    }

    pub(crate) async fn do_deletion(&self, task: &mut Task, profiles: &Profiles) -> Result<(), RoomError> {
        let known = deletion(task)?.clone();
        let Some(nid) = self.room_nid(&known.room).await? else { return Ok(()) };
        if !known.done.closed {
            if self.view(&known.room).await?.is_none() {
                return Ok(());
            }
            if let Some(end) = known.end
                && !self.is_at_end(nid, end).await?
            {
                return Ok(());
            }
            self.make_new_room(task, profiles).await?;
            self.empty(task, nid, profiles).await?;
            self.take_names(task, nid).await?;
            if known.purge && !known.force && !self.engine.local_members(nid, usize::MAX).await?.is_empty() {
                let sentence = "Users of this server are still in the room: it was not purged.";
                return Err(RoomError::Forbidden(sentence.to_owned()));
            }
        }
        if known.purge { self.erase(task, nid).await } else { Ok(()) }
    }

    /// Makes the room for those who are taken out.
    async fn make_new_room(&self, task: &mut Task, profiles: &Profiles) -> Result<(), RoomError> {
        let known = deletion(task)?.clone();
        let Some((user, nid)) = known.new_room_user.filter(|_| known.done.new_room.is_none()) else { return Ok(()) };
        let actor = Actor { user: &user, nid, device: None, guest: false };
        let mut power_levels = Map::new();
        power_levels.insert("users_default".to_owned(), MOVED_USERS_LEVEL.into());
        let new = NewRoom {
            version: None,
            preset: Preset::PublicChat,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels,
            name: Some(known.new_room_name.unwrap_or_else(|| ROOM_NAME_DEFAULT.to_owned())),
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: profiles.of(user.clone()).await,
        };
        let room = self.create(actor, new).await?;
        let message = known.message.unwrap_or_else(|| MESSAGE_DEFAULT.to_owned());
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": message }))
            .map_err(|error| RoomError::BadContent(error.to_string()))?;
        self.send(actor, &room, "m.room.message", content, None).await?;
        deletion(task)?.done.new_room = Some(room);
        self.save_task(task, Batch::default()).await
    }

    /// Takes the users of this server out of the room.
    async fn empty(&self, task: &mut Task, nid: RoomNid, profiles: &Profiles) -> Result<(), RoomError> {
        deletion(task)?.done.stayed.clear();
        for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
            let mut after = None;
            loop {
                let page = self.members(nid, membership, after, MEMBERS_PAGE).await?;
                let Some(last) = page.last().copied() else { break };
                after = Some(last);
                for (user, user_nid) in self.local_among(&page).await? {
                    self.take_out(task, &user, user_nid, membership, profiles).await?;
                }
            }
        }
        self.save_task(task, Batch::default()).await
    }

    /// Those of these users who are of this server.
    pub(crate) async fn local_among(&self, users: &[UserNid]) -> Result<Vec<(OwnedUserId, UserNid)>, RoomError> {
        let numbers: Vec<u64> = users.iter().map(|user| user.get()).collect();
        let names = self.engine.store.interner().resolve_many(crate::NS_USER, &numbers).await?;
        let named = users.iter().zip(names);
        let local = named.filter_map(|(nid, name)| {
            let user = OwnedUserId::try_from(&*name?).ok()?;
            (user.server_name() == self.engine.server_name).then_some((user, *nid))
        });
        Ok(local.collect())
    }

    async fn take_out(
        &self,
        task: &mut Task,
        user: &UserId,
        nid: UserNid,
        membership: Membership,
        profiles: &Profiles,
    ) -> Result<(), RoomError> {
        let known = deletion(task)?;
        let (room, new_room) = (known.room.clone(), known.done.new_room.clone());
        let actor = Actor { user, nid, device: None, guest: false };
        match self.leave(actor, &room, None).await {
            Ok(()) => deletion(task)?.done.kicked.push(user.to_owned()),
            Err(error @ (RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))) => return Err(error),
            Err(error) => {
                tracing::info!(%error, user = nid.get(), "a user could not be taken out of a room");
                deletion(task)?.done.stayed.push(user.to_owned());
            }
        }
        if let Some(new_room) = new_room.filter(|_| membership == Membership::Join) {
            let joined = self.join(actor, &new_room, profiles.of(user.to_owned()).await, None).await;
            if let Err(error) = joined {
                tracing::info!(%error, user = nid.get(), "a user could not be moved to the new room");
            }
        }
        let taken = deletion(task)?.done.kicked.len();
        if taken.is_multiple_of(SAVED_EVERY) { self.save_task(task, Batch::default()).await } else { Ok(()) }
    }

    /// Takes the room's aliases away, or leads them to the new room, and takes it out of the directory.
    async fn take_names(&self, task: &mut Task, nid: RoomNid) -> Result<(), RoomError> {
        let _alone = self.engine.alias_changes.lock().await;
        let new_room = match &deletion(task)?.done.new_room {
            Some(room) => self.room_nid(room).await?,
            None => None,
        };
        loop {
            let store = self.engine.store.latest();
            let keys = store.scan_keys(&ROOM_ALIASES, Scan::prefix(&nid).limit(ALIASES_PAGE)).await?;
            let hashes: Vec<_> = keys.iter().map(|(_, hash)| *hash).collect();
            let records = store.multi_get(&ALIASES, &hashes).await?;
            let mut batch = Batch::default();
            batch.delete(&LISTED, &nid);
            for (hash, record) in hashes.iter().zip(records) {
                batch.delete(&ROOM_ALIASES, &(nid, *hash));
                let Some(Json(record)) = record else { continue };
                deletion(task)?.done.aliases.push(record.alias.clone());
                match new_room {
                    Some(room) => {
                        batch.put(&ALIASES, hash, &Json(AliasRecord { room, ..record }));
                        batch.put(&ROOM_ALIASES, &(room, *hash), &());
                    }
                    None => batch.delete(&ALIASES, hash),
                }
            }
            let last = keys.len() < ALIASES_PAGE;
            if last {
                self.engine.record_change(&mut batch, Act::RoomDelete, &deletion(task)?.room, "emptied");
            }
            self.save_task(task, batch).await?;
            if last {
                return Ok(());
            }
        }
    }
}

impl Engine {
    /// Refuses to make or find a room that is being destroyed.
    pub(crate) fn check_open(&self, room: RoomNid) -> Result<(), RoomError> {
        if self.closed.has(room) { Err(RoomError::NoSuchRoom) } else { Ok(()) }
    }
}
