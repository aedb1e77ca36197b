//! The holds that are in force, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedUserId};

use crate::hold::{Hold, HoldId, Scope, parts};

/// What is looked at of a hold when somebody asks.
#[derive(Debug)]
pub(crate) struct Covering {
    pub(crate) id: HoldId,
    pub(crate) scope: Scope,
    pub(crate) expires_ms: Option<u64>,
}

/// Holds by what they name. One that names a file stands among those of files only.
#[derive(Debug, Default)]
pub(crate) struct Index {
    all: BTreeMap<HoldId, Arc<Covering>>,
    /// By the room that they name.
    pub(crate) rooms: HashMap<OwnedRoomId, Vec<Arc<Covering>>>,
    /// By the user that they name, with a room or without.
    pub(crate) users: HashMap<OwnedUserId, Vec<Arc<Covering>>>,
    /// By the file that they name: server and id.
    pub(crate) files: HashMap<(String, String), Vec<Arc<Covering>>>,
    /// Those that name neither a room nor a user nor a file.
    pub(crate) times: Vec<Arc<Covering>>,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn insert(&mut self, hold: &Hold) {
        let covering = Arc::new(Covering { id: hold.id, scope: hold.scope.clone(), expires_ms: hold.expires_ts });
        let scope = &covering.scope;
        match (file_of(scope), &scope.room_id, &scope.user_id) {
            (Some(file), ..) => self.files.entry(file).or_default().push(Arc::clone(&covering)),
            (None, None, None) => self.times.push(Arc::clone(&covering)),
            (None, room, user) => {
                if let Some(room) = room {
                    self.rooms.entry(room.clone()).or_default().push(Arc::clone(&covering));
                }
                if let Some(user) = user {
                    self.users.entry(user.clone()).or_default().push(Arc::clone(&covering));
                }
            }
        }
        self.all.insert(hold.id, covering);
    }

    pub(crate) fn remove(&mut self, id: HoldId) {
        let Some(covering) = self.all.remove(&id) else { return };
        let scope = &covering.scope;
        if let Some(file) = file_of(scope) {
            remove(&mut self.files, &file, id);
        }
        if let Some(room) = &scope.room_id {
            remove(&mut self.rooms, room, id);
        }
        if let Some(user) = &scope.user_id {
            remove(&mut self.users, user, id);
        }
        self.times.retain(|covering| covering.id != id);
    }

    /// Those whose time is over.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<HoldId> {
        let over = |covering: &&Arc<Covering>| covering.expires_ms.is_some_and(|expires| expires <= now_ms);
        self.all.values().filter(over).map(|covering| covering.id).collect()
    }

    /// When the next one ends by itself.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.all.values().filter_map(|covering| covering.expires_ms).min()
    }

    /// A hold that is in force.
    pub(crate) fn get(&self, id: HoldId) -> Option<&Arc<Covering>> {
        self.all.get(&id)
    }
}

fn file_of(scope: &Scope) -> Option<(String, String)> {
    let (server, id) = parts(scope.media.as_deref()?)?;
    Some((server.to_owned(), id.to_owned()))
}

fn remove<K: Hash + Eq>(map: &mut HashMap<K, Vec<Arc<Covering>>>, key: &K, id: HoldId) {
    if let Some(listed) = map.get_mut(key) {
        listed.retain(|covering| covering.id != id);
        if listed.is_empty() {
            map.remove(key);
        }
    }
}
