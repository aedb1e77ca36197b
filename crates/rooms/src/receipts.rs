//! Read receipts (specification, client-server API, module "Receipts").
//!
//! A user has one receipt for each kind and thread of a room. [`RECEIPT_CHANGES`] holds each once, under the position
//! of its last change, so that what moved since a position is one range, and all of them are the whole range.
//! [`RECEIPTS`] finds a user's own: its records' versions are those positions.
//!
//! Private receipts (`m.read.private`) are in both like the others. **They must not be told to anybody but their
//! user**: readers of [`Rooms::receipts`] and [`Rooms::receipts_since`] look at [`Receipt::kind`].

use std::sync::Arc;

use ruma::{
    EventId, OwnedEventId, OwnedUserId, RoomId, UserId,
    events::receipt::{ReceiptThread, ReceiptType},
};
use serde::{Deserialize, Serialize};
use wardroom_audit::ReadMark;
use wardroom_store::{Batch, CommitError, Packed, Position, Profile, Scan, Seal, Table};

use crate::{
    Actor, Engine, Membership, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, NS_EVENT, NS_USER, Place, RoomNid, UserNid},
    log::{LOG, LogRecord},
    relations::{Relation, THREAD, THREAD_HOPS_MAX},
    room::RoomView,
    timeline::TimelineItem,
};

/// Receipts that one read returns; the newest, where there are more.
pub const RECEIPTS_READ_MAX: usize = 20_000;
/// Attempts to move a receipt against other devices of the user that do.
const MOVE_ATTEMPTS_MAX: u32 = 64;

/// Kinds in keys.
const PUBLIC: u8 = 1;
const PRIVATE: u8 = 2;
/// Threads in keys, besides the numbers of their roots, which start at 1.
const UNTHREADED: u64 = 0;
const MAIN: u64 = u64::MAX;

/// How far somebody has read, as (room, user, kind, thread): the event's place. The record's version is the position
/// of the change.
pub(crate) const RECEIPTS: Table<(RoomNid, UserNid, u8, u64), Packed<Place>> =
    Table::new(0x0210, "receipts", Profile::Point, Seal::System);
/// The same by last change, as (room, position, user, kind, thread).
pub(crate) const RECEIPT_CHANGES: Table<(RoomNid, Position, UserNid, u8, u64), Packed<ReceiptRecord>> =
    Table::new(0x0211, "receipt_changes", Profile::Churn, Seal::System);

/// Key of a receipt by its last change.
type ChangeKey = (RoomNid, Position, UserNid, u8, u64);

/// A receipt at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReceiptRecord {
    event: EventNid,
    /// When it was sent, in milliseconds since 1970.
    ts_ms: u64,
}

/// A receipt: somebody has read up to and including an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who.
    pub user: UserNid,
    /// Who, by name.
    pub user_id: OwnedUserId,
    /// `m.read`, or `m.read.private`, which is for its user's eyes alone.
    pub kind: ReceiptType,
    /// What part of the room it is about.
    pub thread: ReceiptThread,
    /// The event.
    pub event_id: OwnedEventId,
    /// When it was sent, in milliseconds since 1970.
    pub ts_ms: u64,
}

impl Rooms {
    /// Moves a receipt of the actor forward. It never moves back: an event before the one it stands at changes nothing.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] names the field: `receiptType` other than the two kinds of read receipt, `event_id`
    /// of no event that the actor sees in this room, `thread_id` of no thread or of one that the event is not in.
    pub async fn set_receipt(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        kind: &ReceiptType,
        event: &EventId,
        thread: &ReceiptThread,
    ) -> Result<(), RoomError> {
        let kind = match kind {
            ReceiptType::Read => PUBLIC,
            ReceiptType::ReadPrivate => PRIVATE,
            _ => return Err(invalid("receiptType: must be m.read or m.read.private.")),
        };
        let view = self.permit_signal(actor, room).await?;
        let (event, place) = self.readable_event(actor, &view, event).await?;
        let thread = match thread {
            ReceiptThread::Unthreaded => UNTHREADED,
            ReceiptThread::Main if is_threaded(&event) => {
                return Err(invalid("thread_id: the event is in a thread, not in the main timeline."));
            }
            ReceiptThread::Main => MAIN,
            ReceiptThread::Thread(root) => self.engine.thread_of_receipt(&view, root, &event).await?.get(),
            _ => return Err(invalid("thread_id: must be \"main\" or the id of a thread's root event.")),
        };
        let ts_ms = self.engine.clock.now_ms();
        self.engine.move_receipt((view.nid, actor.nid, kind, thread), event.nid, place, ts_ms).await
    }

    /// Takes a public receipt of a user of another server, unless the user is not joined. Says whether the event is in
    /// the room's timeline; where it is not, nothing happens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_receipt_elsewhere(
        &self,
        room: RoomNid,
        user: &UserId,
        event: &EventId,
        thread: &ReceiptThread,
        ts_ms: Option<u64>,
    ) -> Result<bool, RoomError> {
        let Some(nid) = self.engine.user_nid(user).await? else { return Ok(true) };
        let member = self.membership(nid, room).await?;
        if member.is_none_or(|entry| entry.membership != Membership::Join) {
            return Ok(true);
        }
        let Some(event) = self.engine.event_nid(event).await? else { return Ok(false) };
        let Some((_, place)) = self.engine.meta(event).await?.filter(|(meta, _)| meta.room == room) else {
            return Ok(false);
        };
        let thread = match thread {
            ReceiptThread::Unthreaded => UNTHREADED,
            ReceiptThread::Main => MAIN,
            ReceiptThread::Thread(root) => match self.engine.event_nid(root).await? {
                // Whether the event is in that thread is for its server to say.
                Some(root) if self.engine.meta(root).await?.is_some_and(|(meta, _)| meta.room == room) => root.get(),
                _ => return Ok(true),
            },
            _ => return Ok(true),
        };
        // A clock that goes ahead elsewhere does not make somebody have read in the future.
        let now_ms = self.engine.clock.now_ms();
        let ts_ms = ts_ms.map_or(now_ms, |ts_ms| ts_ms.min(now_ms));
        self.engine.move_receipt((room, nid, PUBLIC, thread), event, place, ts_ms).await?;
        Ok(true)
    }

    /// The public receipts of a user that one commit moved and that still stand where it moved them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn receipts_moved(&self, user: UserNid, room: RoomNid, at: Position) -> Result<Vec<Receipt>, RoomError> {
        let store = self.engine.store.latest();
        let scan = Scan::range(&(room, at, user, PUBLIC, UNTHREADED), &(room, at, user, PRIVATE, UNTHREADED));
        let rows = store.scan(&RECEIPT_CHANGES, scan.limit(RECEIPTS_READ_MAX)).await?;
        self.engine.name_receipts(rows).await
    }

    /// Receipts that changed in (since, `up_to`], oldest change first. Of those that changed more than once, the last.
    ///
    /// Holds private receipts of everybody: see [`Receipt::kind`].
    pub async fn receipts_since(
        &self,
        room: RoomNid,
        since: Position,
        up_to: Position,
    ) -> Result<Vec<Receipt>, RoomError> {
        if since >= up_to {
            return Ok(Vec::new());
        }
        let (from, to) = (Place::after(since).position(), Place::after(up_to).position());
        self.engine.read_receipts(Scan::range(&(room, from), &(room, to))).await
    }

    /// All receipts of a room, oldest change first.
    ///
    /// Holds private receipts of everybody: see [`Receipt::kind`].
    pub async fn receipts(&self, room: RoomNid) -> Result<Vec<Receipt>, RoomError> {
        self.engine.read_receipts(Scan::prefix(&room)).await
    }

    /// An event of a room, and when users first said publicly that they have read it: by a receipt for it or for one behind
    /// it, of the whole room or of the thread that the event is in. Kept for as long as the audit trail is. Ungated.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`], or the store's.
    pub async fn first_read(
        &self,
        room: RoomNid,
        event: &EventId,
    ) -> Result<(Arc<Stored>, Vec<(OwnedUserId, u64)>), RoomError> {
        let nid = self.engine.event_nid(event).await?.ok_or(RoomError::NoSuchEvent)?;
        let meta = self.engine.meta(nid).await?.filter(|(meta, _)| meta.room == room);
        let (_, place) = meta.ok_or(RoomError::NoSuchEvent)?;
        let event = self.engine.event(room, nid).await?.ok_or(RoomError::NoSuchEvent)?;
        let thread = match self.thread_root_of(room, &event).await? {
            Some(root) => self.engine.event_nid(&root).await?.map_or(MAIN, EventNid::get),
            None => MAIN,
        };
        // A thread's root is read in its thread, too.
        let threads = [UNTHREADED, thread, nid.get()];
        let marks = self.engine.audit.read_by(room.get(), &threads, (place.position().get(), place.index())).await;
        let marks = marks.map_err(|error| RoomError::Storage(error.to_string()))?;
        let users: Vec<UserNid> = marks.iter().map(|(user, _)| UserNid::new(*user)).collect();
        let names = self.user_ids(&users).await?;
        Ok((event, names.into_iter().zip(marks).map(|(user, (_, ts_ms))| (user, ts_ms)).collect()))
    }

    /// All receipts of one user in a room, by kind and thread. Private ones are among them.
    pub async fn own_receipts(&self, user: UserNid, room: RoomNid) -> Result<Vec<Receipt>, RoomError> {
        let store = self.engine.store.latest();
        let scan = Scan::prefix(&(room, user)).limit(RECEIPTS_READ_MAX);
        let moved = store.scan_versioned(&RECEIPTS, scan).await?;
        let keys: Vec<_> =
            moved.into_iter().map(|((_, _, kind, thread), _, at)| (room, at, user, kind, thread)).collect();
        let records = store.multi_get(&RECEIPT_CHANGES, &keys).await?;
        // One that moves between the two reads is news to whoever asks what changed.
        let rows = keys.into_iter().zip(records).filter_map(|(key, record)| Some((key, record?)));
        self.engine.name_receipts(rows.collect()).await
    }

    /// The place of the newest event up to which a user has read a room, by public or private receipt, whether it
    /// names no thread or the main timeline: where unread counts start.
    pub async fn read_place(&self, user: UserNid, room: RoomNid) -> Result<Option<Place>, RoomError> {
        let keys = [(PUBLIC, UNTHREADED), (PUBLIC, MAIN), (PRIVATE, UNTHREADED), (PRIVATE, MAIN)];
        let keys = keys.map(|(kind, thread)| (room, user, kind, thread));
        let found = self.engine.store.latest().multi_get(&RECEIPTS, &keys).await?;
        Ok(found.into_iter().flatten().map(|place| place.0).max())
    }

    /// The places of the events up to which a user has read a room, thread by thread; of a thread that was read by
    /// public and by private receipt, both.
    pub async fn read_places(&self, user: UserNid, room: RoomNid) -> Result<Vec<(ReceiptThread, Place)>, RoomError> {
        let scan = Scan::prefix(&(room, user)).limit(RECEIPTS_READ_MAX);
        let rows = self.engine.store.latest().scan(&RECEIPTS, scan).await?;
        let mut places = Vec::with_capacity(rows.len());
        for ((.., thread), place) in rows {
            let thread = match thread {
                UNTHREADED => ReceiptThread::Unthreaded,
                MAIN => ReceiptThread::Main,
                root => {
                    let name = self.engine.store.interner().resolve(NS_EVENT, root).await?;
                    let root = name.and_then(|name| OwnedEventId::try_from(&*name).ok());
                    ReceiptThread::Thread(root.ok_or_else(|| RoomError::inconsistent("receipt without names"))?)
                }
            };
            places.push((thread, place.0));
        }
        Ok(places)
    }

    /// An event of a room that the actor sees, and where it stands.
    async fn readable_event(
        &self,
        actor: Actor<'_>,
        room: &RoomView,
        event: &EventId,
    ) -> Result<(Arc<Stored>, Place), RoomError> {
        let unknown = || invalid("event_id: there is no such event in this room.");
        let nid = self.engine.event_nid(event).await?.ok_or_else(unknown)?;
        let (meta, place) =
            self.engine.meta(nid).await?.filter(|(meta, _)| meta.room == room.nid).ok_or_else(unknown)?;
        let event = self.engine.event(room.nid, nid).await?.ok_or_else(unknown)?;
        let reader = self.reader(actor, room).await?;
        let item = TimelineItem::by_meta(place, Arc::clone(&event), &meta);
        if self.engine.sees_place(&reader, room, &item).await? { Ok((event, place)) } else { Err(unknown()) }
    }
}

fn invalid(sentence: &str) -> RoomError {
    RoomError::InvalidParam(sentence.to_owned())
}

/// Whether an event is itself a reply in a thread.
fn is_threaded(event: &Stored) -> bool {
    Relation::of(&event.pdu).is_some_and(|relation| relation.class() == THREAD)
}

impl Engine {
    /// The number of a thread's root that stands in this room and whose thread the event is in.
    async fn thread_of_receipt(&self, room: &RoomView, root: &EventId, event: &Stored) -> Result<EventNid, RoomError> {
        let nid = match self.event_nid(root).await? {
            Some(nid) => self.meta(nid).await?.filter(|(meta, _)| meta.room == room.nid).map(|_| nid),
            None => None,
        };
        let nid = nid.ok_or_else(|| invalid("thread_id: there is no such event in this room."))?;
        if self.is_in_thread(room, root, event).await? {
            Ok(nid)
        } else {
            Err(invalid("thread_id: the event is not in this thread."))
        }
    }

    /// Whether an event is in a thread, directly or by what it relates to. Clients also read a thread's root in its
    /// thread; and of a redacted event nobody knows any more.
    async fn is_in_thread(&self, room: &RoomView, root: &EventId, event: &Stored) -> Result<bool, RoomError> {
        if event.pdu.event_id() == root || event.redacted_because.is_some() {
            return Ok(true);
        }
        let mut relation = Relation::of(&event.pdu);
        for _ in 0..THREAD_HOPS_MAX {
            let Some(related) = relation else { return Ok(false) };
            if related.class() == THREAD {
                return Ok(related.parent == root);
            }
            let Some(parent) = self.related(room.nid, &related.parent).await? else { return Ok(false) };
            if parent.redacted_because.is_some() {
                return Ok(true);
            }
            relation = Relation::of(&parent.pdu);
        }
        Ok(false)
    }

    async fn move_receipt(
        &self,
        key: (RoomNid, UserNid, u8, u64),
        event: EventNid,
        place: Place,
        ts_ms: u64,
    ) -> Result<(), RoomError> {
        let (room, user, kind, thread) = key;
        for _ in 0..MOVE_ATTEMPTS_MAX {
            let before = self.store.latest().get_versioned(&RECEIPTS, &key).await?;
            if before.as_ref().is_some_and(|(before, _)| before.0 >= place) {
                return Ok(());
            }
            let mut batch = Batch::default();
            let written = before.map(|(_, written)| written);
            batch.expect_version(&RECEIPTS, &key, written);
            if let Some(written) = written {
                batch.delete(&RECEIPT_CHANGES, &(room, written, user, kind, thread));
            }
            batch.put(&RECEIPTS, &key, &Packed(place));
            let record = ReceiptRecord { event, ts_ms };
            batch.put(&RECEIPT_CHANGES, &(room, Position::COMMIT, user, kind, thread), &Packed(record));
            batch.put(&LOG, &(Position::COMMIT, 0), &Packed(LogRecord::Read(room, user)));
            if kind == PUBLIC {
                let place = (place.position().get(), place.index());
                let mark = ReadMark { room: room.get(), user: user.get(), thread, place };
                self.audit.mark_read(&mut batch, mark, ts_ms);
            }
            batch.touch(room.watch());
            match self.store.commit(batch).await {
                Err(CommitError::Conflict { .. }) => {}
                done => return Ok(done.map(drop)?),
            }
        }
        Err(RoomError::inconsistent("a receipt that never rests"))
    }

    async fn read_receipts(&self, scan: Scan) -> Result<Vec<Receipt>, RoomError> {
        let scan = scan.reverse().limit(RECEIPTS_READ_MAX);
        let mut rows = self.store.latest().scan(&RECEIPT_CHANGES, scan).await?;
        rows.reverse();
        self.name_receipts(rows).await
    }

    /// Receipts of rows, with the names of users and events.
    async fn name_receipts(&self, rows: Vec<(ChangeKey, Packed<ReceiptRecord>)>) -> Result<Vec<Receipt>, RoomError> {
        let is_root = |thread: &u64| !matches!(*thread, UNTHREADED | MAIN);
        let users: Vec<u64> = rows.iter().map(|((_, _, user, ..), _)| user.get()).collect();
        let mut events: Vec<u64> = rows.iter().map(|(_, record)| record.0.event.get()).collect();
        events.extend(rows.iter().map(|((.., thread), _)| *thread).filter(is_root));
        let names = self.store.interner();
        let users = names.resolve_many(NS_USER, &users).await?;
        let mut events = names.resolve_many(NS_EVENT, &events).await?;
        let mut roots = events.split_off(rows.len()).into_iter();
        let mut receipts = Vec::with_capacity(rows.len());
        for ((((_, _, user, kind, thread), record), user_id), event) in rows.into_iter().zip(users).zip(events) {
            let event_id = |name: Option<Arc<str>>| name.and_then(|name| OwnedEventId::try_from(&*name).ok());
            let thread = match thread {
                UNTHREADED => Some(ReceiptThread::Unthreaded),
                MAIN => Some(ReceiptThread::Main),
                _ => event_id(roots.next().flatten()).map(ReceiptThread::Thread),
            };
            let user_id = user_id.and_then(|name| OwnedUserId::try_from(&*name).ok());
            let (Some(user_id), Some(event_id), Some(thread)) = (user_id, event_id(event), thread) else {
                return Err(RoomError::inconsistent("receipt without names"));
            };
            let kind = if kind == PRIVATE { ReceiptType::ReadPrivate } else { ReceiptType::Read };
            receipts.push(Receipt { user, user_id, kind, thread, event_id, ts_ms: record.0.ts_ms });
        }
        Ok(receipts)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{
        OwnedEventId, OwnedRoomId, event_id,
        events::receipt::{
            ReceiptThread::{self, Main, Thread, Unthreaded},
            ReceiptType::{self, Read, ReadPrivate},
        },
        user_id,
    };
    use serde_json::{Value, json, value::to_raw_value};
    use wardroom_store::{Position, Scan};

    use super::{Place, RECEIPT_CHANGES, RECEIPTS};
    use crate::{
        MemberProfile, Preset, RoomError, RoomNid, RoomView,
        tests::{Person, World, new_room, run},
    };

    struct Ward {
        world: World,
        alice: Person,
        bob: Person,
        room: OwnedRoomId,
        nid: RoomNid,
    }

    impl Ward {
        async fn new() -> Self {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let nid = world.rooms.view(&room).await.unwrap().unwrap().nid;
            Self { world, alice, bob, room, nid }
        }

        async fn send(&self, content: Value) -> OwnedEventId {
            let content = to_raw_value(&content).unwrap();
            self.world.rooms.send(self.alice.actor(), &self.room, "m.room.message", content, None).await.unwrap()
        }

        async fn say(&self, body: &str) -> OwnedEventId {
            self.send(json!({ "body": body })).await
        }

        async fn read(
            &self,
            by: &Person,
            kind: &ReceiptType,
            event: &OwnedEventId,
            thread: &ReceiptThread,
        ) -> Result<(), RoomError> {
            self.world.rooms.set_receipt(by.actor(), &self.room, kind, event, thread).await
        }

        async fn changed(&self, since: Position) -> Vec<(ReceiptType, ReceiptThread, OwnedEventId)> {
            let receipts = self.world.rooms.receipts_since(self.nid, since, self.world.store.position()).await.unwrap();
            receipts.into_iter().map(|receipt| (receipt.kind, receipt.thread, receipt.event_id)).collect()
        }

        async fn place(&self, event: &OwnedEventId) -> Place {
            self.world.rooms.place_of(event).await.unwrap().unwrap().1
        }
    }

    #[test]
    fn a_receipt_moves_forward_only_and_stands_once() {
        run(async {
            let ward = Ward::new().await;
            let (first, second) = (ward.say("1").await, ward.say("2").await);
            let start = ward.world.store.position();
            assert!(ward.changed(Position::ZERO).await.is_empty(), "sending moves nobody's receipt");
            ward.read(&ward.bob, &Read, &first, &Unthreaded).await.unwrap();
            let middle = ward.world.store.position();
            assert!(ward.world.store.watches().last(ward.nid.watch()) == middle);
            ward.read(&ward.bob, &Read, &second, &Unthreaded).await.unwrap();
            let end = ward.world.store.position();
            for again in [&first, &second] {
                ward.read(&ward.bob, &Read, again, &Unthreaded).await.unwrap();
            }
            assert_eq!(ward.world.store.position(), end, "what moves nothing commits nothing");
            let now = [(Read, Unthreaded, second.clone())];
            assert_eq!(ward.changed(start).await, now);
            assert_eq!(ward.changed(middle).await, now);
            assert!(ward.changed(end).await.is_empty());
            let before_end = ward.world.rooms.receipts_since(ward.nid, Position::ZERO, middle).await.unwrap();
            assert!(before_end.is_empty(), "superseded");
            let all = ward.world.rooms.receipts(ward.nid).await.unwrap();
            assert_eq!(all.len(), 1);
            assert_eq!((all[0].user, &*all[0].user_id), (ward.bob.actor().nid, ward.bob.actor().user));
            assert_eq!(all[0].ts_ms, 1_700_000_000_000);
            let store = ward.world.store.latest();
            assert_eq!(store.scan_keys(&RECEIPTS, Scan::all()).await.unwrap().len(), 1);
            assert_eq!(store.scan_keys(&RECEIPT_CHANGES, Scan::all()).await.unwrap().len(), 1);
        });
    }

    #[test]
    fn kinds_and_threads_are_apart() {
        run(async {
            let ward = Ward::new().await;
            let (root, main) = (ward.say("root").await, ward.say("main").await);
            let relates = json!({ "rel_type": "m.thread", "event_id": root });
            let reply = ward.send(json!({ "body": "in thread", "m.relates_to": relates })).await;
            let in_thread = Thread(root.clone());
            let me = ward.bob.actor().nid;
            assert_eq!(ward.world.rooms.read_place(me, ward.nid).await.unwrap(), None);
            ward.read(&ward.bob, &Read, &reply, &in_thread).await.unwrap();
            assert_eq!(ward.world.rooms.read_place(me, ward.nid).await.unwrap(), None, "threads count apart");
            ward.read(&ward.bob, &ReadPrivate, &main, &Main).await.unwrap();
            ward.read(&ward.bob, &Read, &root, &Unthreaded).await.unwrap();
            assert_eq!(
                ward.changed(Position::ZERO).await,
                [
                    (Read, in_thread.clone(), reply.clone()),
                    (ReadPrivate, Main, main.clone()),
                    (Read, Unthreaded, root.clone())
                ]
            );
            let read = ward.world.rooms.read_place(me, ward.nid).await.unwrap();
            assert_eq!(read, Some(ward.place(&main).await), "the newest of all");
            let others = ward.world.rooms.read_place(ward.alice.actor().nid, ward.nid).await.unwrap();
            assert_eq!(others, None);
            let (root_at, main_at, reply_at) =
                (ward.place(&root).await, ward.place(&main).await, ward.place(&reply).await);
            let places = ward.world.rooms.read_places(me, ward.nid).await.unwrap();
            assert_eq!(places, [(Unthreaded, root_at), (in_thread, reply_at), (Main, main_at)]);
        });
    }

    #[test]
    fn a_thread_holds_what_relates_to_its_events() {
        run(async {
            let ward = Ward::new().await;
            let (root, other) = (ward.say("root").await, ward.say("other").await);
            let relate =
                |kind: &str, to: &OwnedEventId| json!({ "m.relates_to": { "rel_type": kind, "event_id": to } });
            let reply = ward.send(relate("m.thread", &root)).await;
            let edit = ward.send(relate("m.replace", &reply)).await;
            let of_root = ward.send(relate("m.annotation", &root)).await;
            let lost = ward.send(relate("m.annotation", &event_id!("$nowhere").to_owned())).await;
            for event in [&root, &reply, &edit] {
                ward.read(&ward.bob, &Read, event, &Thread(root.clone())).await.unwrap();
            }
            let threads = [(&reply, &other), (&of_root, &root), (&lost, &root), (&other, &root)];
            for (event, thread) in threads {
                let refused = ward.read(&ward.bob, &Read, event, &Thread(thread.clone())).await;
                assert!(matches!(refused, Err(RoomError::InvalidParam(sentence)) if sentence.starts_with("thread_id")));
            }
            ward.world.rooms.redact(ward.alice.actor(), &ward.room, &reply, None, None).await.unwrap();
            ward.read(&ward.bob, &ReadPrivate, &reply, &Thread(root.clone())).await.unwrap();
            ward.read(&ward.bob, &ReadPrivate, &edit, &Thread(root)).await.unwrap();
        });
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        run(async {
            let ward = Ward::new().await;
            let event = ward.say("1").await;
            let eve = ward.world.person(user_id!("@eve:a.example")).await;
            let elsewhere = ward.world.rooms.create(eve.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let view: std::sync::Arc<RoomView> = ward.world.rooms.view(&elsewhere).await.unwrap().unwrap();
            let foreign = ward.world.rooms.events(view.nid, &[view.create]).await.unwrap()[0].pdu.event_id().to_owned();
            let unknown = event_id!("$unknown").to_owned();
            let custom = ReceiptThread::try_from(Some("side")).unwrap();
            let before = ward.world.store.position();
            for (kind, event, thread, field) in [
                (Read, &unknown, Unthreaded, "event_id"),
                (Read, &foreign, Unthreaded, "event_id"),
                (Read, &event, Thread(unknown.clone()), "thread_id"),
                (Read, &event, Thread(foreign.clone()), "thread_id"),
                (Read, &event, custom, "thread_id"),
                ("m.seen".into(), &event, Unthreaded, "receiptType"),
            ] {
                let refused = ward.read(&ward.bob, &kind, event, &thread).await;
                assert!(matches!(refused, Err(RoomError::InvalidParam(sentence)) if sentence.starts_with(field)));
            }
            assert!(matches!(ward.read(&eve, &Read, &event, &Unthreaded).await, Err(RoomError::Forbidden(_))));
            assert_eq!(ward.world.store.position(), before);
        });
    }

    #[test]
    fn devices_that_race_leave_the_newest() {
        run(async {
            let ward = Ward::new().await;
            let mut events = Vec::new();
            for n in 0..8 {
                events.push(ward.say(&n.to_string()).await);
            }
            let moves = events.iter().rev().map(|event| ward.read(&ward.bob, &Read, event, &Unthreaded));
            assert!(futures_util::future::join_all(moves).await.iter().all(Result::is_ok));
            assert_eq!(ward.changed(Position::ZERO).await, [(Read, Unthreaded, events[7].clone())]);
        });
    }
}
