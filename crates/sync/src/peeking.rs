//! Following one room without being told of anything else: `GET /events` with a `room_id`
//! ([Room previews](https://spec.matrix.org/v1.19/client-server-api/#room-previews)).

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, RoomId, events::receipt::ReceiptType};
use tokio::time::{Instant, timeout_at};
use wardroom_accounts::{PresenceView, Session, presence_watch_of_room};
use wardroom_rooms::{Actor, Place, Receipt, RoomError, Stored, TimelineRange, UserNid, Visibility};
use wardroom_store::Position;

use crate::{SyncError, SyncToken, Syncer};

/// Events of one answer. More than one commit to a room brings, so that an answer can always end between two.
const EVENTS_MAX: usize = 500;
/// How long a request may wait.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// Events of a room behind a token.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// The events, oldest first.
    pub events: Vec<Arc<Stored>>,
    /// Who of the room's members came or went.
    pub presence: Vec<PresenceView>,
    /// Receipts that moved, but for private ones of others.
    pub receipts: Vec<Receipt>,
    /// Who types, where that changed.
    pub typing: Option<Vec<OwnedUserId>>,
    /// Behind which they come.
    pub start: SyncToken,
    /// Where the next request goes on.
    pub end: SyncToken,
}

impl Peeked {
    fn nothing(start: SyncToken, end: SyncToken) -> Self {
        Self { events: Vec::new(), presence: Vec::new(), receipts: Vec::new(), typing: None, start, end }
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.presence.is_empty() && self.receipts.is_empty() && self.typing.is_none()
    }
}

impl Syncer {
    /// The token behind everything that was published until now.
    pub fn now(&self) -> SyncToken {
        SyncToken::new(self.0.store.position())
    }

    /// What happens in a room that the user may read, behind `from` or behind now; waits for something where there is
    /// nothing, until `stopping` resolves.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`], [`RoomError::Forbidden`], or the store's.
    pub async fn peek(
        &self,
        session: &Session,
        room: &RoomId,
        from: Option<SyncToken>,
        timeout: Duration,
        stopping: impl Future<Output = ()> + Send,
    ) -> Result<Peeked, SyncError> {
        let nid = self.0.rooms.view(room).await?.ok_or(RoomError::NoSuchRoom)?.nid;
        let start = from.unwrap_or_else(|| self.now());
        let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
        let wait = async {
            let watched = [nid.watch(), presence_watch_of_room(nid.get())];
            let mut waiter = self.0.store.watches().waiter(watched);
            loop {
                let now = self.0.store.position();
                let found = self.peek_now(session, room, start, now).await?;
                if !found.is_empty() || timeout_at(deadline, waiter.changed()).await.is_err() {
                    return Ok(found);
                }
            }
        };
        tokio::select! {
            biased;
            found = wait => found,
            () = stopping => Ok(Peeked::nothing(start, start)),
        }
    }

    async fn peek_now(
        &self,
        session: &Session,
        room: &RoomId,
        start: SyncToken,
        now: Position,
    ) -> Result<Peeked, SyncError> {
        let since = start.position();
        let actor = Actor {
            user: &session.user,
            nid: UserNid::new(session.nid.get()),
            device: Some(&session.device),
            guest: session.guest,
        };
        let rooms = &self.0.rooms;
        let view = rooms.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = rooms.reader(actor, &view).await?;
        let range =
            TimelineRange { from: Place::after(since), to: Place::after(now), backwards: false, limit: EVENTS_MAX };
        let mut items = rooms.timeline(view.nid, range).await?;
        let mut end = now;
        if items.len() == EVENTS_MAX
            && let Some(last) = items.last().map(|item| item.place.position())
        {
            // What came with the last one may be cut off.
            items.retain(|item| item.place.position() < last);
            end = items.last().map_or(last, |item| item.place.position());
        }
        let ignored = self.0.accounts.ignored_users(session.nid).await?;
        items.retain(|item| !ignored.hides(item.event.pdu.sender(), item.event.pdu.is_state()));
        let seen = rooms.visible(&reader, &view, items).await?;
        let mut found = Peeked::nothing(start, SyncToken::new(end));
        found.events = seen.into_iter().map(|item| item.event).collect();
        // Who has left hears nothing more of those who are there, unless everybody does.
        if !reader.is_joined() && view.visibility != Visibility::WorldReadable {
            return Ok(found);
        }
        found.presence = self.0.accounts.presence().changes(since, end, EVENTS_MAX);
        found.presence.retain(|of| of.rooms.binary_search(&view.nid.get()).is_ok() && !ignored.contains(&of.user));
        found.receipts = rooms.receipts_since(view.nid, since, end).await?;
        found.receipts.retain(|receipt| {
            let is_private = receipt.kind == ReceiptType::ReadPrivate && receipt.user_id != session.user;
            !is_private && !ignored.contains(&receipt.user_id)
        });
        let (changed, mut typing) = rooms.typing(view.nid);
        if changed > since && changed <= end {
            typing.retain(|user| !ignored.contains(user));
            found.typing = Some(typing);
        }
        Ok(found)
    }
}
