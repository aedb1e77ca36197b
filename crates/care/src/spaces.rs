//! Roles as spaces: private rooms of the type `m.space` whose members are those who have a role (or meet a requirement
//! such as `physician@h1/*`). Rooms that name such a space in the `allow` list of their join rules are open to them by the
//! specification alone: every client shows it, and every server can hold to it.
//!
//! The members are compared with those who have the role, as both are at that moment, whenever roles or the space change,
//! at start, and from time to time. Whoever leaves by their own will is not brought in again.

mod invitations;
mod keeping;
mod making;
mod shown;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use wardroom_rooms::RoomNid;
use wardroom_store::{Batch, Packed, Scan, Store};

use self::invitations::Invitations;
pub(crate) use self::keeping::Who;
pub use self::{
    invitations::{Inviter, NotInvited},
    making::SpaceTexts,
    shown::{SHOWN_OPT_OUTS_MAX, ShownSpace},
};
use crate::{
    CareError,
    role::Requirement,
    tables::{SPACES, SpaceRow},
};

/// Roles that can be spaces.
pub const SPACES_MAX: usize = 500;
/// Domain of the hashes that spaces are found by.
const SPACE_DOMAIN: u8 = 0x61;

/// A role that is a space.
#[derive(Clone, Debug)]
pub(crate) struct RoleSpace {
    /// Whoever meets it belongs to the space.
    pub(crate) requirement: Requirement,
    pub(crate) room: RoomNid,
    /// Whether they are to be in it; else nobody is.
    pub(crate) on: bool,
    /// Held while the members are compared and moved: two who do so at once could bring in whom the other put out.
    keeping: Arc<tokio::sync::Mutex<()>>,
}

/// Which roles are spaces, in memory. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Spaces {
    store: Store,
    known: Arc<RwLock<Known>>,
    /// Held while a space is made or changed.
    making: Arc<tokio::sync::Mutex<()>>,
    /// Those that cannot be kept any more, of which administrators were told.
    lost: Arc<Mutex<HashSet<RoomNid>>>,
    invitations: Arc<Invitations>,
}

#[derive(Debug, Default)]
struct Known {
    /// By requirement, in its canonical form.
    by_name: BTreeMap<String, Arc<RoleSpace>>,
    by_room: HashMap<RoomNid, Arc<RoleSpace>>,
}

impl Known {
    fn enter(&mut self, space: RoleSpace) {
        let space = Arc::new(space);
        if let Some(before) = self.by_name.insert(space.requirement.to_string(), Arc::clone(&space)) {
            self.by_room.remove(&before.room);
        }
        self.by_room.insert(space.room, space);
    }
}

impl Spaces {
    /// Reads them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: Store) -> Result<Self, CareError> {
        let mut known = Known::default();
        // One more than can be: none is forgotten.
        for (_, Packed(row)) in store.latest().scan(&SPACES, Scan::all().limit(SPACES_MAX + 1)).await? {
            if let Ok(requirement) = Requirement::parse(&row.requirement) {
                known.enter(RoleSpace { requirement, room: row.room, on: row.on, keeping: Arc::default() });
            }
        }
        Ok(Self {
            store,
            known: Arc::new(RwLock::new(known)),
            making: Arc::default(),
            lost: Arc::default(),
            invitations: Arc::default(),
        })
    }

    /// The space of those who meet a requirement.
    pub(crate) fn of(&self, requirement: &Requirement) -> Option<Arc<RoleSpace>> {
        self.known.read().by_name.get(&requirement.to_string()).cloned()
    }

    /// The role space that a room is.
    pub(crate) fn of_room(&self, room: RoomNid) -> Option<Arc<RoleSpace>> {
        self.known.read().by_room.get(&room).cloned()
    }

    /// Every role space, in the order of their requirements.
    pub(crate) fn all(&self) -> Vec<Arc<RoleSpace>> {
        self.known.read().by_name.values().cloned().collect()
    }

    /// Writes a space, which is known once the batch is committed.
    fn put(&self, batch: &mut Batch, space: RoleSpace) {
        let requirement = space.requirement.to_string();
        let key = self.store.keyed_hash(SPACE_DOMAIN, requirement.as_bytes());
        batch.put(&SPACES, &key, &Packed(SpaceRow { requirement, room: space.room, on: space.on }));
        let known = Arc::clone(&self.known);
        batch.on_commit(move |_| known.write().enter(space));
    }
}
