//! What each connection was told, in memory.
//!
//! A connection remembers its state as of the last answer that the client has shown to have got (by sending its `pos`),
//! and what the answers given since then would change. So the same `pos` can be answered again, as often as it takes.
//! Losing a connection costs its client a new start: [`UnknownPos`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use wardroom_rooms::{EventNid, RoomNid};
use wardroom_store::Position;

use super::{request::Pos, required_state::RequiredState};

/// Connections of one device; the least recently used one goes when there are more.
const CONNECTIONS_PER_DEVICE_MAX: usize = 10;
/// Answers whose receipt is open that a connection remembers: the client uses the last one, or one before it when it
/// has asked again at the same time.
const OPEN_ANSWERS_MAX: usize = 4;
/// Combinations of required state that a connection tells apart; a room that was told with a forgotten one gets its
/// state again when it is told next.
const WISHES_MAX: usize = 16;
/// Rooms that one connection remembers. Beyond that it forgets those told longest ago, which are told as a whole when
/// they come into sight again.
const ROOMS_PER_CONNECTION_MAX: usize = 20_000;
/// Weight of all connections, in rooms told, each about 150 bytes; those least recently used go when there is more.
const WEIGHT_MAX: usize = 400_000;
/// What a connection costs besides its rooms.
const CONNECTION_WEIGHT: usize = 8;
/// Bytes that cost as much as a room.
const BYTES_PER_WEIGHT: usize = 128;
/// Memberships that cost as much as a room.
const MEMBERS_PER_WEIGHT: usize = 16;

/// In which form a room was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Joined,
    Stripped,
    Left,
}

/// Number of a combination of required state within a connection.
pub(crate) type WishId = u32;

/// How a room was told last.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Up to where.
    pub(crate) up_to: Position,
    pub(crate) form: Form,
    /// What state was asked for.
    pub(crate) wish: WishId,
    /// So many of the newest events does the client have, without a gap.
    pub(crate) have: usize,
    pub(crate) bump: Position,
    pub(crate) is_dm: bool,
    /// Unread notifications: those that stand out, and all.
    pub(crate) unread: (u64, u64),
    /// Membership events that the client has from lazy loading.
    pub(crate) members: Arc<[EventNid]>,
    /// The room's account data was told, and changes were since.
    pub(crate) account_data: bool,
    /// Up to where receipts were told.
    pub(crate) receipts: Option<Position>,
    /// Up to where was told who types.
    pub(crate) typing: Option<Position>,
}

impl Told {
    fn weight(&self) -> usize {
        1 + self.members.len() / MEMBERS_PER_WEIGHT
    }
}

/// Up to where an answer tells what does not belong to one room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursors {
    /// Account data.
    pub(crate) account_data: Option<Position>,
    /// Device lists.
    pub(crate) devices: Option<Position>,
    /// Subscriptions to threads.
    pub(crate) threads: Option<Position>,
}

/// Rooms by how they were told.
pub(crate) type ToldRooms = HashMap<RoomNid, Told>;
/// Combinations of required state, the last used first.
pub(crate) type Wishes = Vec<(WishId, Arc<RequiredState>)>;

/// A connection as the client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) serial: u64,
    /// Number of the answer that the client has got; zero before the first.
    answer: u64,
    /// Up to where that answer told; none before the first.
    pub(crate) position: Option<Position>,
    pub(crate) cursors: Cursors,
    pub(crate) wishes: Wishes,
    pub(crate) rooms: Arc<ToldRooms>,
}

/// What an answer changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) position: Position,
    pub(crate) cursors: Cursors,
    pub(crate) wishes: Wishes,
    pub(crate) rooms: ToldRooms,
}

/// The connection is not known, or not at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownPos;

#[derive(Debug)]
struct Connection {
    id: String,
    base: Base,
    /// Answers given on this base.
    open: Vec<(u64, Change)>,
    last_answer: u64,
    /// Weight of the rooms of the base.
    base_weight: usize,
    weight: usize,
    used: u64,
}

impl Connection {
    fn new(id: &str, serial: u64) -> Self {
        let base = Base {
            serial,
            answer: 0,
            position: None,
            cursors: Cursors::default(),
            wishes: Wishes::new(),
            rooms: Arc::default(),
        };
        let id = id.to_owned();
        Self { id, base, open: Vec::new(), last_answer: 0, base_weight: 0, weight: CONNECTION_WEIGHT, used: 0 }
    }

    /// The client has got this answer.
    fn acknowledge(&mut self, answer: u64) -> Result<(), UnknownPos> {
        if answer == self.base.answer {
            return Ok(());
        }
        let index = self.open.iter().position(|(open, _)| *open == answer).ok_or(UnknownPos)?;
        let (_, change) = self.open.swap_remove(index);
        self.open.clear();
        let Base { answer: known, position, cursors, wishes, rooms, .. } = &mut self.base;
        (*known, *position) = (answer, Some(change.position));
        (*cursors, *wishes) = (change.cursors, change.wishes);
        let rooms = Arc::make_mut(rooms);
        for (room, told) in change.rooms {
            self.base_weight += told.weight();
            if let Some(before) = rooms.insert(room, told) {
                self.base_weight = self.base_weight.saturating_sub(before.weight());
            }
        }
        if rooms.len() > ROOMS_PER_CONNECTION_MAX {
            forget_half(rooms);
            self.base_weight = rooms.values().map(Told::weight).sum();
        }
        self.weigh();
        Ok(())
    }

    fn weigh(&mut self) {
        let wishes =
            |wishes: &Wishes| wishes.iter().map(|(_, wanted)| wanted.bytes()).sum::<usize>() / BYTES_PER_WEIGHT;
        let open = self
            .open
            .iter()
            .map(|(_, change)| change.rooms.values().map(Told::weight).sum::<usize>() + wishes(&change.wishes));
        self.weight = CONNECTION_WEIGHT + self.base_weight + wishes(&self.base.wishes) + open.sum::<usize>();
    }
}

/// Forgets the half of the rooms that were told longest ago.
fn forget_half(rooms: &mut ToldRooms) {
    let mut told: Vec<(Position, RoomNid)> = rooms.iter().map(|(room, told)| (told.up_to, *room)).collect();
    let middle = told.len() / 2;
    let (_, limit, _) = told.select_nth_unstable(middle);
    let limit = *limit;
    rooms.retain(|room, told| (told.up_to, *room) >= limit);
}

#[derive(Debug, Default)]
struct Registry {
    devices: HashMap<u64, Vec<Connection>>,
    weight: usize,
    /// Counts uses, as the time by which the least recent is found.
    uses: u64,
}

impl Registry {
    /// Changes a connection, and keeps the sum of the weights.
    fn with<T>(&mut self, device: u64, id: &str, change: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let connection = self.devices.get_mut(&device)?.iter_mut().find(|connection| connection.id == id)?;
        self.uses += 1;
        connection.used = self.uses;
        let before = connection.weight;
        let result = change(connection);
        self.weight = (self.weight + connection.weight).saturating_sub(before);
        Some(result)
    }

    fn remove(&mut self, device: u64, mut gone: impl FnMut(&Connection) -> bool) {
        let Some(connections) = self.devices.get_mut(&device) else { return };
        let mut freed = 0;
        connections.retain(|connection| {
            let gone = gone(connection);
            freed += if gone { connection.weight } else { 0 };
            !gone
        });
        if connections.is_empty() {
            self.devices.remove(&device);
        }
        self.weight = self.weight.saturating_sub(freed);
    }

    fn open(&mut self, device: u64, id: &str, serial: u64) -> Base {
        self.remove(device, |connection| connection.id == id);
        while let Some(connections) = self.devices.get(&device).filter(|all| all.len() >= CONNECTIONS_PER_DEVICE_MAX) {
            let oldest = connections.iter().map(|connection| connection.used).min();
            self.remove(device, |connection| Some(connection.used) == oldest);
        }
        self.uses += 1;
        let connection = Connection { used: self.uses, ..Connection::new(id, serial) };
        let base = connection.base.clone();
        self.weight += connection.weight;
        self.devices.entry(device).or_default().push(connection);
        self.trim();
        base
    }

    /// Drops the less recently used half of the connections where all together are too heavy.
    fn trim(&mut self) {
        while self.weight > WEIGHT_MAX {
            let mut uses: Vec<u64> = self.devices.values().flatten().map(|connection| connection.used).collect();
            let middle = uses.len() / 2;
            if middle == 0 {
                return;
            }
            let (_, limit, _) = uses.select_nth_unstable(middle);
            let (limit, devices) = (*limit, self.devices.keys().copied().collect::<Vec<_>>());
            for device in devices {
                self.remove(device, |connection| connection.used < limit);
            }
        }
    }
}

/// The connections of all devices.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    registry: Mutex<Registry>,
    serials: AtomicU64,
}

impl Connections {
    /// Begins a connection anew.
    pub(crate) fn open(&self, device: u64, id: &str) -> Base {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed) + 1;
        self.registry.lock().open(device, id, serial)
    }

    /// Goes on with a connection at a place that the client has got.
    pub(crate) fn resume(&self, device: u64, id: &str, pos: Pos) -> Result<Base, UnknownPos> {
        let resumed = self.registry.lock().with(device, id, |connection| {
            if connection.base.serial != pos.serial {
                return Err(UnknownPos);
            }
            connection.acknowledge(pos.answer)?;
            // The position is part of the token for pagination; a made-up one is not taken.
            if connection.base.position == Some(pos.position) { Ok(connection.base.clone()) } else { Err(UnknownPos) }
        });
        resumed.unwrap_or(Err(UnknownPos))
    }

    /// Remembers an answer to a request that went on from `base`; gives the place it leads to.
    ///
    /// # Errors
    /// When the connection has gone on, or is gone: nobody waits for the answer.
    pub(crate) fn answer(&self, device: u64, id: &str, base: &Base, change: Change) -> Result<Pos, UnknownPos> {
        let mut registry = self.registry.lock();
        let answered = registry.with(device, id, |connection| {
            if connection.base.serial != base.serial || connection.base.answer != base.answer {
                return Err(UnknownPos);
            }
            connection.last_answer += 1;
            let pos = Pos { position: change.position, serial: base.serial, answer: connection.last_answer };
            if connection.open.len() >= OPEN_ANSWERS_MAX {
                connection.open.remove(0);
            }
            connection.open.push((pos.answer, change));
            connection.weigh();
            Ok(pos)
        });
        registry.trim();
        answered.unwrap_or(Err(UnknownPos))
    }
}

/// The number of a combination of required state, which becomes the last used one.
pub(crate) fn wish_id(wishes: &mut Wishes, wanted: &RequiredState) -> (WishId, Arc<RequiredState>) {
    let found = wishes.iter().position(|(_, known)| **known == *wanted);
    let wish = match found {
        Some(index) => wishes.remove(index),
        None => {
            let next = wishes.iter().map(|(id, _)| *id).max().unwrap_or_default();
            // Numbers go up while any is remembered, so that a forgotten one does not come back as another.
            (next.wrapping_add(1), Arc::new(wanted.clone()))
        }
    };
    wishes.insert(0, wish.clone());
    wishes.truncate(WISHES_MAX);
    wish
}

#[cfg(test)]
mod tests {
    use wardroom_rooms::RoomNid;
    use wardroom_store::Position;

    use super::*;

    fn told(number: u64) -> Told {
        Told {
            up_to: Position::new(number),
            form: Form::Joined,
            wish: 1,
            have: 1,
            bump: Position::new(number),
            is_dm: false,
            unread: (0, 0),
            members: Arc::default(),
            account_data: false,
            receipts: None,
            typing: None,
        }
    }

    fn change(position: u64, rooms: impl IntoIterator<Item = u64>) -> Change {
        let rooms = rooms.into_iter().map(|room| (RoomNid::new(room), told(position))).collect();
        Change { position: Position::new(position), rooms, ..Change::default() }
    }

    #[test]
    fn an_answer_counts_once_the_client_has_it() {
        let connections = Connections::default();
        let first = connections.open(1, "a");
        assert!(first.position.is_none() && first.rooms.is_empty());
        let one = connections.answer(1, "a", &first, change(10, [1])).unwrap();
        let again = connections.answer(1, "a", &first, change(11, [1, 2])).unwrap();
        let base = connections.resume(1, "a", one).unwrap();
        assert_eq!((base.rooms.len(), base.position), (1, Some(Position::new(10))));
        assert_eq!(connections.resume(1, "a", again).unwrap_err(), UnknownPos, "the other answer is given up");
        let two = connections.answer(1, "a", &base, change(12, [3])).unwrap();
        assert_eq!(connections.resume(1, "a", one).unwrap().rooms.len(), 1, "the same place again");
        assert_eq!(connections.resume(1, "a", two).unwrap().rooms.len(), 2);
        assert_eq!(connections.resume(1, "a", one).unwrap_err(), UnknownPos);
        assert_eq!(connections.answer(1, "a", &base, change(13, [])).unwrap_err(), UnknownPos, "it has gone on");
    }

    #[test]
    fn places_belong_to_a_device_and_a_connection() {
        let connections = Connections::default();
        let base = connections.open(1, "a");
        let pos = connections.answer(1, "a", &base, change(10, [])).unwrap();
        connections.open(1, "b");
        connections.open(2, "a");
        for (device, id) in [(1, "b"), (2, "a"), (3, "a")] {
            assert_eq!(connections.resume(device, id, pos).unwrap_err(), UnknownPos);
        }
        let made_up = Pos { position: Position::new(9), ..pos };
        assert_eq!(connections.resume(1, "a", made_up).unwrap_err(), UnknownPos);
        connections.open(1, "a");
        assert_eq!(connections.resume(1, "a", pos).unwrap_err(), UnknownPos, "it was begun anew");
    }

    #[test]
    fn memory_is_bounded() {
        let connections = Connections::default();
        for number in 0..50 {
            connections.open(1, &number.to_string());
        }
        assert_eq!(connections.registry.lock().devices[&1].len(), CONNECTIONS_PER_DEVICE_MAX);
        for device in 0..100 {
            let base = connections.open(device, "a");
            let pos = connections.answer(device, "a", &base, change(10, 0..9_000)).unwrap();
            assert!(connections.resume(device, "a", pos).is_ok(), "the newest stays");
        }
        for step in 0..5 {
            let base = connections.open(7, "many");
            let pos = connections.answer(7, "many", &base, change(step, 0..15_000)).unwrap();
            let base = connections.resume(7, "many", pos).unwrap();
            let pos = connections.answer(7, "many", &base, change(step + 1, 20_000..30_000)).unwrap();
            let rooms = connections.resume(7, "many", pos).unwrap().rooms;
            assert!(rooms.len() <= ROOMS_PER_CONNECTION_MAX && rooms.contains_key(&RoomNid::new(29_999)));
        }
        let registry = connections.registry.lock();
        assert!(registry.weight <= WEIGHT_MAX);
        let weights: usize = registry.devices.values().flatten().map(|connection| connection.weight).sum();
        assert_eq!(registry.weight, weights);
    }

    #[test]
    fn wishes_are_numbered_and_forgotten() {
        use ruma::user_id;
        let wanted =
            |name: usize| RequiredState::new(&[("m.x".to_owned(), name.to_string())], user_id!("@me:a.example"));
        let mut wishes = Wishes::new();
        let (first, _) = wish_id(&mut wishes, &wanted(0));
        assert_eq!(wish_id(&mut wishes, &wanted(0)).0, first);
        let ids: Vec<_> = (1..=WISHES_MAX).map(|name| wish_id(&mut wishes, &wanted(name)).0).collect();
        assert!(!ids.contains(&first));
        assert_eq!(wishes.len(), WISHES_MAX);
        assert!(!wishes.iter().any(|(id, _)| *id == first), "the least recently used one");
        assert_ne!(wish_id(&mut wishes, &wanted(0)).0, first);
    }
}
