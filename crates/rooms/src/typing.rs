//! Typing notifications (specification, client-server API, module "Typing notifications"), in memory only.
//!
//! Who starts or stops typing is a commit without writes: it gets a position and wakes the room's waiters, and its
//! hook changes the lists, so that a reader at a position never misses a change up to it. One task
//! ([`Rooms::run_typing`]) stops those whose time is up.
//!
//! What local users do is noted for other servers, where somebody asks for it ([`Rooms::follow_typing`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, RoomId, UserId};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use wardroom_store::{Batch, CommitError, Position};

use crate::{
    Actor, Engine, Membership, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
};

/// How long somebody types where the request does not say.
pub const TYPING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long somebody types at most without saying so again.
pub const TYPING_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Users shown as typing in one room; more are not taken in until some stop.
const TYPING_USERS_PER_ROOM_MAX: usize = 50;
/// Rooms whose last change is remembered. Beyond that, those are forgotten where nobody types.
const TYPING_ROOMS_MAX: usize = 10_000;
/// How long users of other servers type at most without their server saying so again.
const TYPING_ELSEWHERE: Duration = Duration::from_secs(60);
/// How often other servers are told that somebody goes on typing: they give up after about a minute.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Changes that wait to be told to other servers; more are not told.
const TYPING_NEWS_MAX: usize = 10_000;
/// Pause after a commit that failed.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

/// Who types where.
#[derive(Debug)]
pub(crate) struct Typing {
    lists: Mutex<Lists>,
    /// The earliest time at which somebody's time is up.
    next: watch::Sender<Option<Instant>>,
    news: Mutex<News>,
}

/// What other servers have to be told.
#[derive(Debug, Default)]
struct News {
    /// Somebody asks for it.
    followed: bool,
    changes: HashMap<(RoomNid, UserNid), TypingChange>,
}

/// A local user began, goes on or ceased to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypingChange {
    /// Where.
    pub room: RoomNid,
    /// Who.
    pub user: OwnedUserId,
    /// Types now.
    pub typing: bool,
}

#[derive(Debug, Default)]
struct Lists {
    rooms: HashMap<RoomNid, RoomTyping>,
    /// The same people by when their time is up.
    deadlines: BTreeSet<(Instant, RoomNid, UserNid)>,
}

#[derive(Debug)]
struct RoomTyping {
    changed: Position,
    /// In the order in which they started.
    users: Vec<Typist>,
}

#[derive(Debug)]
struct Typist {
    nid: UserNid,
    id: OwnedUserId,
    until: Instant,
    /// When other servers were told last; none of their own users.
    told: Option<Instant>,
}

impl Default for Typing {
    fn default() -> Self {
        Self { lists: Mutex::default(), next: watch::Sender::new(None), news: Mutex::default() }
    }
}

impl Typing {
    /// Changes the lists, and tells the task when it is due next.
    fn change<T>(&self, change: impl FnOnce(&mut Lists) -> T) -> T {
        let mut lists = self.lists.lock();
        let result = change(&mut lists);
        let due = lists.deadlines.first().map(|(due, ..)| *due);
        self.next.send_if_modified(|next| std::mem::replace(next, due) != due);
        result
    }

    /// Notes a change of a local user's typing for other servers.
    fn note(&self, room: RoomNid, nid: UserNid, user: &UserId, typing: bool) {
        let mut news = self.news.lock();
        if news.followed && (news.changes.len() < TYPING_NEWS_MAX || news.changes.contains_key(&(room, nid))) {
            news.changes.insert((room, nid), TypingChange { room, user: user.to_owned(), typing });
        }
    }

    fn begin(&self, room: RoomNid, typist: Typist, at: Position) {
        if typist.told.is_some() {
            self.note(room, typist.nid, &typist.id, true);
        }
        self.change(|lists| lists.start(room, typist, at));
    }

    fn end(&self, room: RoomNid, user: UserNid, at: Position) {
        if let Some(typist) = self.change(|lists| lists.stop(room, user, at))
            && typist.told.is_some()
        {
            self.note(room, user, &typist.id, false);
        }
    }

    fn is_typing(&self, room: RoomNid, user: UserNid) -> bool {
        self.lists.lock().rooms.get(&room).is_some_and(|room| room.users.iter().any(|typist| typist.nid == user))
    }
}

impl Lists {
    /// Gives somebody who is typing already more, or less, time. Nobody has to hear of it.
    fn renew(&mut self, room: RoomNid, user: UserNid, until: Instant) -> bool {
        let typist = self.rooms.get_mut(&room).and_then(|room| room.users.iter_mut().find(|typist| typist.nid == user));
        let Some(typist) = typist else { return false };
        self.deadlines.remove(&(typist.until, room, user));
        self.deadlines.insert((until, room, user));
        typist.until = until;
        true
    }

    /// Whether it is time to tell other servers again that somebody types.
    fn tell_again(&mut self, room: RoomNid, user: UserNid, now: Instant) -> bool {
        let typist = self.rooms.get_mut(&room).and_then(|room| room.users.iter_mut().find(|typist| typist.nid == user));
        let told = typist.and_then(|typist| typist.told.as_mut());
        let due = told.filter(|told| now.saturating_duration_since(**told) >= TELL_AGAIN_AFTER);
        due.map(|told| *told = now).is_some()
    }

    /// Whether one more may type in a room.
    fn has_space(&self, room: RoomNid) -> bool {
        match self.rooms.get(&room) {
            Some(room) => room.users.len() < TYPING_USERS_PER_ROOM_MAX,
            None => self.rooms.len() < TYPING_ROOMS_MAX || self.rooms.values().any(|room| room.users.is_empty()),
        }
    }

    fn start(&mut self, room: RoomNid, typist: Typist, at: Position) {
        if self.renew(room, typist.nid, typist.until) || !self.has_space(room) {
            return;
        }
        if self.rooms.len() >= TYPING_ROOMS_MAX && !self.rooms.contains_key(&room) {
            self.rooms.retain(|_, room| !room.users.is_empty());
        }
        self.deadlines.insert((typist.until, room, typist.nid));
        let list = self.rooms.entry(room).or_insert_with(|| RoomTyping { changed: at, users: Vec::new() });
        list.users.push(typist);
        list.changed = at;
    }

    fn stop(&mut self, room: RoomNid, user: UserNid, at: Position) -> Option<Typist> {
        let list = self.rooms.get_mut(&room)?;
        let index = list.users.iter().position(|typist| typist.nid == user)?;
        let typist = list.users.remove(index);
        list.changed = at;
        self.deadlines.remove(&(typist.until, room, user));
        Some(typist)
    }

    /// Those whose time is up.
    fn due(&self, now: Instant) -> Vec<(RoomNid, UserNid)> {
        self.deadlines.iter().take_while(|(due, ..)| *due <= now).map(|(_, room, user)| (*room, *user)).collect()
    }
}

impl Rooms {
    /// Starts or goes on typing for a time, at most [`TYPING_TIMEOUT_MAX`]; with `None`, stops.
    pub async fn set_typing(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        timeout: Option<Duration>,
    ) -> Result<(), RoomError> {
        let view = self.permit_signal(actor, room).await?;
        let room = view.nid;
        let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) else {
            return self.stop_typing(actor.nid, room).await;
        };
        let now = Instant::now();
        let until = now + timeout.min(TYPING_TIMEOUT_MAX);
        let told = (actor.user.server_name() == self.engine.server_name).then_some(now);
        if self.engine.typing.change(|lists| lists.tell_again(room, actor.nid, now)) {
            self.engine.typing.note(room, actor.nid, actor.user, true);
        }
        self.start_typing(room, Typist { nid: actor.nid, id: actor.user.to_owned(), until, told }).await
    }

    /// A user of another server starts, goes on, or stops typing. Who is not joined does not type.
    pub async fn set_typing_elsewhere(&self, room: RoomNid, user: &UserId, typing: bool) -> Result<(), RoomError> {
        let Some(nid) = self.engine.user_nid(user).await? else { return Ok(()) };
        if !typing {
            return self.stop_typing(nid, room).await;
        }
        let member = self.membership(nid, room).await?;
        if member.is_none_or(|entry| entry.membership != Membership::Join) {
            return Ok(());
        }
        let until = Instant::now() + TYPING_ELSEWHERE;
        self.start_typing(room, Typist { nid, id: user.to_owned(), until, told: None }).await
    }

    async fn start_typing(&self, room: RoomNid, typist: Typist) -> Result<(), RoomError> {
        let typing = &self.engine.typing;
        let silent = typing.change(|lists| lists.renew(room, typist.nid, typist.until) || !lists.has_space(room));
        if silent {
            return Ok(());
        }
        let typing = Arc::clone(typing);
        let mut batch = Batch::default();
        batch.touch(room.watch());
        batch.on_commit(move |position| typing.begin(room, typist, position));
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// From now on, what local users do is noted for [`Rooms::take_typing_changes`].
    pub fn follow_typing(&self) {
        self.engine.typing.news.lock().followed = true;
    }

    /// Who of this server's users began, goes on or ceased to type since the last call.
    pub fn take_typing_changes(&self) -> Vec<TypingChange> {
        let changes = std::mem::take(&mut self.engine.typing.news.lock().changes);
        changes.into_values().collect()
    }

    /// Ends a user's typing, as leaving a room does. Costs nothing where the user does not type.
    pub async fn stop_typing(&self, user: UserNid, room: RoomNid) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        self.engine.typing_ends(&mut batch, user, room);
        if !batch.is_empty() {
            self.engine.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Position of the last change of who types in a room, and who does now; zero where nothing is known, which
    /// is so where nobody typed since the server started.
    pub fn typing(&self, room: RoomNid) -> (Position, Vec<OwnedUserId>) {
        let lists = self.engine.typing.lists.lock();
        lists.rooms.get(&room).map_or((Position::ZERO, Vec::new()), |room| {
            (room.changed, room.users.iter().map(|typist| typist.id.clone()).collect())
        })
    }

    /// Stops those whose time is up. To be spawned once; ends when the rooms are dropped or their store is closed,
    /// and keeps neither.
    pub fn run_typing(&self) -> impl Future<Output = ()> + Send + use<> {
        expire(Arc::downgrade(&self.engine), self.engine.typing.next.subscribe())
    }
}

async fn expire(engine: Weak<Engine>, mut next: watch::Receiver<Option<Instant>>) {
    loop {
        let due = *next.borrow_and_update();
        let time_is_up = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = next.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = time_is_up => {
                let Some(engine) = engine.upgrade() else { return };
                match engine.stop_due(Instant::now()).await {
                    Ok(()) => {}
                    Err(CommitError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "typing notifications could not be ended");
                        drop(engine);
                        sleep(EXPIRY_RETRY).await;
                    }
                }
            }
        }
    }
}

impl Engine {
    /// Ends a user's typing with a batch that is about to be committed anyway: a leave, say. Adds nothing where
    /// the user does not type.
    pub(crate) fn typing_ends(&self, batch: &mut Batch, user: UserNid, room: RoomNid) {
        if self.typing.is_typing(room, user) {
            let typing = Arc::clone(&self.typing);
            batch.touch(room.watch());
            batch.on_commit(move |position| typing.end(room, user, position));
        }
    }

    /// Stops those whose time is up at this time, in one commit.
    async fn stop_due(&self, now: Instant) -> Result<(), CommitError> {
        let rooms: BTreeSet<RoomNid> = self.typing.lists.lock().due(now).into_iter().map(|(room, _)| room).collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for room in &rooms {
            batch.touch(room.watch());
        }
        let typing = Arc::clone(&self.typing);
        batch.on_commit(move |position| {
            // Some may have gone on typing in the meantime, and in other rooms others may be due by now.
            let due = typing.lists.lock().due(now);
            for (room, user) in due.into_iter().filter(|(room, _)| rooms.contains(room)) {
                typing.end(room, user, position);
            }
        });
        self.store.commit(batch).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruma::{OwnedRoomId, OwnedUserId, user_id};
    use tokio::time::Instant;
    use wardroom_store::Position;

    use super::{Lists, TYPING_ROOMS_MAX, TYPING_TIMEOUT_MAX, TYPING_USERS_PER_ROOM_MAX, Typist};
    use crate::{
        MemberProfile, Preset, RoomError, RoomNid, UserNid,
        tests::{Person, World, new_room, run},
    };

    const LONG: Option<Duration> = Some(Duration::from_secs(100));

    async fn ward(world: &World) -> (Person, Person, OwnedRoomId, RoomNid) {
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        let nid = world.rooms.view(&room).await.unwrap().unwrap().nid;
        (alice, bob, room, nid)
    }

    #[test]
    fn who_types_is_told_from_the_position_of_the_change() {
        run(async {
            let world = World::new();
            let (alice, bob, room, nid) = ward(&world).await;
            let (alice_id, bob_id) = (alice.actor().user.to_owned(), bob.actor().user.to_owned());
            assert_eq!(world.rooms.typing(nid), (Position::ZERO, vec![]));
            let before = world.store.position();
            let mut waiter = world.store.watches().waiter([nid.watch()]);
            world.rooms.set_typing(bob.actor(), &room, LONG).await.unwrap();
            waiter.changed().await;
            let (started, users) = world.rooms.typing(nid);
            assert_eq!((started > before, users), (true, vec![bob_id.clone()]));
            assert_eq!(world.store.watches().last(nid.watch()), started);

            world.rooms.set_typing(bob.actor(), &room, LONG).await.unwrap();
            assert_eq!(world.rooms.typing(nid).0, started, "going on is no change");
            world.rooms.set_typing(alice.actor(), &room, LONG).await.unwrap();
            assert_eq!(world.rooms.typing(nid).1, [bob_id, alice_id.clone()]);
            world.rooms.set_typing(bob.actor(), &room, None).await.unwrap();
            let (stopped, users) = world.rooms.typing(nid);
            assert_eq!((stopped > started, users), (true, vec![alice_id]));
            world.rooms.stop_typing(alice.actor().nid, nid).await.unwrap();
            let (ended, users) = world.rooms.typing(nid);
            assert_eq!((ended > stopped, users), (true, vec![]));
            world.rooms.set_typing(alice.actor(), &room, None).await.unwrap();
            assert_eq!(world.store.position(), ended, "stopping twice is no change");
        });
    }

    #[test]
    fn only_members_type() {
        run(async {
            let world = World::new();
            let (_, bob, room, nid) = ward(&world).await;
            let eve = world.person(user_id!("@eve:a.example")).await;
            assert!(matches!(world.rooms.set_typing(eve.actor(), &room, LONG).await, Err(RoomError::Forbidden(_))));
            world.rooms.leave(bob.actor(), &room, None).await.unwrap();
            assert!(matches!(world.rooms.set_typing(bob.actor(), &room, LONG).await, Err(RoomError::Forbidden(_))));
            assert_eq!(world.rooms.typing(nid), (Position::ZERO, vec![]));
        });
    }

    #[test]
    fn typing_ends_by_itself() {
        run(async {
            let world = World::new();
            let (alice, bob, room, nid) = ward(&world).await;
            let task = tokio::spawn(world.rooms.run_typing());
            world.rooms.set_typing(alice.actor(), &room, LONG).await.unwrap();
            world.rooms.set_typing(bob.actor(), &room, LONG).await.unwrap();
            let mut waiter = world.store.watches().waiter([nid.watch()]);
            // Less time than before, so that it is up now.
            world.rooms.set_typing(bob.actor(), &room, Some(Duration::from_millis(1))).await.unwrap();
            waiter.changed().await;
            let (ended, users) = world.rooms.typing(nid);
            assert_eq!((ended, users), (world.store.position(), vec![alice.actor().user.to_owned()]));
            drop(world);
            task.await.unwrap();
        });
    }

    fn typist(user: u64, until: Instant) -> Typist {
        let id = OwnedUserId::try_from(format!("@u{user}:a.example")).unwrap();
        Typist { nid: UserNid::new(user), id, until, told: None }
    }

    #[test]
    fn lists_are_bounded() {
        let (mut lists, until) = (Lists::default(), Instant::now() + TYPING_TIMEOUT_MAX);
        let crowd = u64::try_from(TYPING_USERS_PER_ROOM_MAX).unwrap() + 10;
        for user in 1..=crowd {
            lists.start(RoomNid::new(1), typist(user, until), Position::new(user));
        }
        assert_eq!(lists.rooms[&RoomNid::new(1)].users.len(), TYPING_USERS_PER_ROOM_MAX);
        assert_eq!(lists.deadlines.len(), TYPING_USERS_PER_ROOM_MAX);

        let many = u64::try_from(TYPING_ROOMS_MAX).unwrap() + 10;
        for room in 2..=many {
            lists.start(RoomNid::new(room), typist(1, until), Position::new(room));
        }
        assert_eq!(lists.rooms.len(), TYPING_ROOMS_MAX);
        let newcomer = RoomNid::new(many);
        assert!(!lists.rooms.contains_key(&newcomer), "nothing to forget while people type everywhere");
        lists.stop(RoomNid::new(2), UserNid::new(1), Position::new(many + 1));
        lists.start(newcomer, typist(1, until), Position::new(many + 2));
        assert!(lists.rooms.contains_key(&newcomer) && !lists.rooms.contains_key(&RoomNid::new(2)));
        assert_eq!(lists.rooms.len(), TYPING_ROOMS_MAX);
        let people: usize = lists.rooms.values().map(|room| room.users.len()).sum();
        assert_eq!(people, lists.deadlines.len());
    }

    #[test]
    fn only_those_are_due_whose_time_is_up() {
        let now = Instant::now();
        let (room, second) = (RoomNid::new(1), Duration::from_secs(1));
        let mut lists = Lists::default();
        for user in 1..=3 {
            lists.start(room, typist(user, now + second), Position::new(user));
        }
        assert!(lists.due(now).is_empty());
        assert!(lists.renew(room, UserNid::new(2), now + 3 * second));
        assert_eq!(lists.due(now + second), [(room, UserNid::new(1)), (room, UserNid::new(3))]);
        lists.stop(room, UserNid::new(1), Position::new(9));
        lists.stop(room, UserNid::new(9), Position::new(10));
        assert_eq!(lists.due(now + 5 * second), [(room, UserNid::new(3)), (room, UserNid::new(2))]);
        assert_eq!(lists.rooms[&room].changed, Position::new(9));
    }
}
