//! What is forgotten of a person who is erased, beside what they sent to rooms.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use ruma::{OwnedServerName, OwnedUserId, UserId};
use wardroom_accounts::{AccountError, Accounts};
use wardroom_federation::Federation;
use wardroom_media::Media;
use wardroom_rooms::{Forgotten, HeldItem, Memory, NotForgotten, Place, RoomError, RoomNid, Rooms, UserNid};

/// Everything that knows of persons.
#[derive(Debug)]
pub(crate) struct Everything {
    accounts: Accounts,
    media: Media,
    federation: Option<Federation>,
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
fn failed(error: impl ToString) -> NotForgotten {
    NotForgotten(error.to_string())
}

/// Erases persons again of whom a store that was restored has what was erased since, and hides it at once.
pub(crate) async fn again(
    rooms: &Rooms,
    erased: Vec<(wardroom_accounts::UserNid, OwnedUserId)>,
) -> Result<(), RoomError> {
    rooms.load_erasures().await?;
    let erased: Vec<_> = erased.into_iter().map(|(nid, user)| (user, UserNid::new(nid.get()))).collect();
    rooms.erase_again(&erased).await
}

impl Everything {
    pub(crate) fn of(accounts: &Accounts, media: &Media, federation: Option<&Federation>) -> Self {
        Self { accounts: accounts.clone(), media: media.clone(), federation: federation.cloned() }
    }

    /// Has everything forget persons whom the rooms erase.
    pub(crate) fn remember(self, rooms: &Rooms) {
        rooms.remember_with(Arc::new(self));
    }

    /// Deletes what a user uploaded, but for what is held; answers how many files that were, and how many each hold keeps.
    async fn delete_uploads(&self, user: &UserId, nid: UserNid) -> Result<(u64, BTreeMap<String, u64>), NotForgotten> {
        let (owner, mut deleted) = (wardroom_media::UserNid::new(nid.get()), 0);
        loop {
            let page = self.media.all_of_user(owner).await.map_err(failed)?;
            let (before, mut held) = (deleted, BTreeMap::new());
            for info in page {
                let guard = self.accounts.settings().holds.nothing_changes().await;
                let verdict = guard.upload(info.media.server().as_str(), info.media.id(), Some(user), info.created_ms);
                drop(guard);
                match verdict.hold() {
                    Some(hold) => *held.entry(hold.to_string()).or_default() += 1,
                    None => deleted += u64::from(self.media.delete(&info.media).await.map_err(failed)?),
                }
            }
            if deleted == before {
                return Ok((deleted, held));
            }
        }
    }
}

impl Memory for Everything {
    fn close<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Result<(), NotForgotten>> {
        Box::pin(async move {
            match self.accounts.deactivate_keeping_data(user).await {
                Err(AccountError::Deactivated | AccountError::UnknownUser) => Ok(()),
                closed => closed.map_err(failed),
            }
        })
    }

    fn forget<'a>(&'a self, user: &'a UserId, nid: UserNid) -> BoxFuture<'a, Result<Forgotten, NotForgotten>> {
        Box::pin(async move {
            let mut forgotten = Forgotten::default();
            if !self.accounts.is_local(user) {
                return Ok(forgotten);
            }
            match self.accounts.forget_person(user).await {
                Err(AccountError::UnknownUser) => {}
                done => done.map_err(failed)?,
            }
            let (deleted, held) = self.delete_uploads(user, nid).await?;
            forgotten.removed.insert("media".to_owned(), deleted);
            let kept =
                held.into_iter().map(|(hold, count)| HeldItem { kind: "media".to_owned(), room_id: None, count, hold });
            forgotten.held.extend(kept);
            Ok(forgotten)
        })
    }

    fn sent(&self, room: RoomNid) -> BoxFuture<'_, Result<Vec<(OwnedServerName, Place)>, NotForgotten>> {
        Box::pin(async move {
            match &self.federation {
                Some(federation) => federation.outbox.taken_of(room).await.map_err(failed),
                None => Ok(Vec::new()),
            }
        })
    }

    fn tell<'a>(
        &'a self,
        user: &'a UserId,
        servers: Vec<OwnedServerName>,
    ) -> BoxFuture<'a, Result<Vec<OwnedServerName>, NotForgotten>> {
        Box::pin(async move {
            match &self.federation {
                Some(federation) => federation.edus.tell_erasure(user, servers).await.map_err(failed),
                None => Ok(Vec::new()),
            }
        })
    }

    fn destroy_key<'a>(&'a self, user: &'a UserId, nid: UserNid) -> BoxFuture<'a, Result<(), NotForgotten>> {
        Box::pin(async move {
            if !self.accounts.is_local(user) {
                return Ok(());
            }
            let nid = wardroom_accounts::UserNid::new(nid.get());
            self.accounts.destroy_person_key(nid).await.map_err(failed)
        })
    }
}
