//! Guests in rooms that do not let guests in any more (client-server API, section "Guest Access", "Server behaviour"):
//! those of this server leave. Who is a guest is known to nobody else, and to this crate not either: it is told.
//!
//! That a room has to be gone through is noted in the batch that changes its state, so that a crash forgets nobody.

use std::{future::Future, time::Duration};

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde::Deserialize;
use tokio::time::sleep;
use wardroom_event::Pdu;
use wardroom_store::{Batch, CommitError, Position, Profile, Scan, Seal, Table};

use crate::{
    Actor, Engine, Membership, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid, WATCH_GUESTS},
    room::RoomView,
    trie::Root,
    writer::Writer,
};

/// Rooms that do not let guests in any more and may have some.
pub(crate) const GUESTS_OUT: Table<RoomNid, ()> =
    Table::new(0x027A, "rooms_without_guests", Profile::Churn, Seal::System);

/// Rooms read at a time.
const ROOMS_PAGE: usize = 100;
/// Members read at a time.
const MEMBERS_PAGE: usize = 1_000;
/// How long to wait after a failure; doubled while it lasts.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whether this `m.room.guest_access` lets guests in: `forbidden` unless it says `can_join`.
fn lets_in(event: Option<&Pdu>) -> bool {
    #[derive(Deserialize)]
    struct Content {
        guest_access: String,
    }
    event.and_then(|event| event.content_as::<Content>().ok()).is_some_and(|content| content.guest_access == "can_join")
}

impl Engine {
    /// Whether guests may join.
    pub(crate) async fn lets_guests_in(&self, room: &RoomView) -> Result<bool, RoomError> {
        let event = self.state_event(room.nid, room.state, &StateEventType::RoomGuestAccess, "").await?;
        Ok(lets_in(event.as_ref().map(|stored| &*stored.pdu)))
    }
}

impl Writer {
    /// Whether guests may join, as this group leaves the room so far.
    pub(crate) async fn lets_guests_in(&self) -> Result<bool, RoomError> {
        self.let_guests_in_at(self.head.state).await
    }

    async fn let_guests_in_at(&self, state: Root) -> Result<bool, RoomError> {
        let event = self.state_event_at(state, &StateEventType::RoomGuestAccess, "").await?;
        Ok(lets_in(event.as_ref().map(|stored| &*stored.pdu)))
    }

    /// Notes that guests have to leave, where the room let them in before its state changed and does not now.
    pub(crate) async fn note_guest_access(&mut self, old: Root) -> Result<(), RoomError> {
        if self.let_guests_in_at(old).await? && !self.lets_guests_in().await? {
            self.batch.put(&GUESTS_OUT, &self.nid(), &());
            self.batch.touch(WATCH_GUESTS);
        }
        Ok(())
    }
}

impl Rooms {
    /// Has guests of this server leave rooms that do not let guests in any more, for as long as it is polled. `is_guest`
    /// says whether a user of this server is one now; none where that cannot be said.
    pub async fn run_guests<F, Fut>(self, is_guest: F)
    where
        F: Fn(OwnedUserId) -> Fut,
        Fut: Future<Output = Option<bool>>,
    {
        let mut noted = self.engine.store.watches().waiter([WATCH_GUESTS]);
        let mut pause = FAILURE_PAUSE;
        loop {
            match self.send_guests_out(&is_guest).await {
                Ok(()) => {
                    pause = FAILURE_PAUSE;
                    noted.changed().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "guests could not leave rooms that do not let them in; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(FAILURE_PAUSE_MAX);
                }
            }
        }
    }

    /// Goes through all rooms once; a room that fails holds up none of the others.
    async fn send_guests_out<F, Fut>(&self, is_guest: &F) -> Result<(), RoomError>
    where
        F: Fn(OwnedUserId) -> Fut,
        Fut: Future<Output = Option<bool>>,
    {
        let (mut after, mut failure) = (None, None);
        loop {
            let mut scan = Scan::all().limit(ROOMS_PAGE);
            if let Some(after) = after {
                scan = scan.after(&after);
            }
            let page = self.engine.store.latest().scan_versioned(&GUESTS_OUT, scan).await?;
            let Some((last, ..)) = page.last() else { return failure.map_or(Ok(()), Err) };
            after = Some(*last);
            for (room, (), noted) in page {
                if let Err(error) = self.send_out_of(room, noted, is_guest).await {
                    failure = Some(error);
                }
            }
        }
    }

    async fn send_out_of<F, Fut>(&self, room: RoomNid, noted: Position, is_guest: &F) -> Result<(), RoomError>
    where
        F: Fn(OwnedUserId) -> Fut,
        Fut: Future<Output = Option<bool>>,
    {
        let view = self.view_of(room).await?;
        let mut after: Option<UserNid> = None;
        while !self.engine.lets_guests_in(&view).await? {
            let page = self.members(room, Membership::Join, after, MEMBERS_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for nid in page {
                let Some(user) = self.user_ids(&[nid]).await?.pop() else { continue };
                if user.server_name() != self.engine.server_name {
                    continue;
                }
                match is_guest(user.clone()).await {
                    Some(true) => self.send_out(&view, &user, nid).await?,
                    Some(false) => {}
                    None => return Err(RoomError::Storage("it cannot be said who is a guest".to_owned())),
                }
            }
            tokio::task::consume_budget().await;
        }
        let mut batch = Batch::default();
        batch.expect_version(&GUESTS_OUT, &room, Some(noted));
        batch.delete(&GUESTS_OUT, &room);
        match self.engine.store.commit(batch).await {
            // Noted again meanwhile, which has woken the next round.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn send_out(&self, room: &RoomView, user: &UserId, nid: UserNid) -> Result<(), RoomError> {
        let actor = Actor { user, nid, device: None, guest: true };
        match self.leave(actor, &room.id, None).await {
            Err(error @ (RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))) => Err(error),
            Err(error) => {
                // Gone already, or the room cannot be written to any more.
                tracing::info!(%error, "a guest could not leave a room that does not let guests in");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruma::user_id;
    use serde_json::{json, value::to_raw_value};

    use crate::{
        MemberProfile, Membership, Preset,
        tests::{Person, World, new_room, run},
    };

    /// How long the guest may take to leave. Generous: nothing else is going on.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn guests_leave_when_the_room_lets_none_in_any_more_and_others_stay() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let guest = world.person(user_id!("@guest:a.example")).await.into_guest();
            let room = world.rooms.create(alice.actor(), new_room("11", Preset::PublicChat)).await.unwrap();
            let set = async |access: &str| {
                let content = to_raw_value(&json!({ "guest_access": access })).unwrap();
                let kind = "m.room.guest_access".into();
                world.rooms.set_state(alice.actor(), &room, &kind, "", content).await.unwrap();
            };
            let view = world.rooms.view(&room).await.unwrap().unwrap();
            let membership = async |person: &Person| {
                world.rooms.membership(person.actor().nid, view.nid).await.unwrap().unwrap().membership
            };
            set("can_join").await;
            world.rooms.join(guest.actor(), &room, MemberProfile::default(), None).await.unwrap();
            // Noted while nobody goes through the rooms, as after a crash.
            set("forbidden").await;
            assert_eq!(membership(&guest).await, Membership::Join);
            let is_guest = |user: ruma::OwnedUserId| async move { Some(user == user_id!("@guest:a.example")) };
            let running = tokio::spawn(world.rooms.clone().run_guests(is_guest));
            let gone = async {
                let mut changes = world.store.watches().waiter([guest.actor().nid.watch()]);
                while membership(&guest).await == Membership::Join {
                    changes.changed().await;
                }
            };
            tokio::time::timeout(SOON, gone).await.unwrap();
            assert_eq!((membership(&guest).await, membership(&alice).await), (Membership::Leave, Membership::Join));
            assert!(world.rooms.join(guest.actor(), &room, MemberProfile::default(), None).await.is_err());
            set("can_join").await;
            world.rooms.join(guest.actor(), &room, MemberProfile::default(), None).await.unwrap();
            set("forbidden").await;
            tokio::time::timeout(SOON, async {
                let mut changes = world.store.watches().waiter([guest.actor().nid.watch()]);
                while membership(&guest).await == Membership::Join {
                    changes.changed().await;
                }
            })
            .await
            .unwrap();
            running.abort();
        });
    }
}
