//! Users of other servers in the user directory, under the names that rooms know (client-server API, section "User
//! Directory").

use std::collections::HashSet;

use ruma::OwnedUserId;
use wardroom_accounts::Accounts;
use wardroom_rooms::{NameListener, NamedUser, Rooms, UserNid};

use crate::Parts;

/// Keeps the directory as rooms change.
pub(crate) struct Listing(Accounts);

impl Listing {
    /// Listens from now on.
    pub(crate) fn start(parts: &Parts) {
        parts.rooms.tell_names_to(Box::new(Self(parts.accounts.clone())));
    }
}

impl NameListener for Listing {
    fn named(&self, users: Vec<NamedUser>) {
        self.0.list_others(users.into_iter().map(listed));
    }
}

fn listed(user: NamedUser) -> (wardroom_accounts::UserNid, OwnedUserId, Option<String>) {
    (wardroom_accounts::UserNid::new(user.nid.get()), user.id, user.displayname)
}

/// Lists those who are in rooms already.
#[derive(Clone, Debug)]
pub(crate) struct Filling {
    rooms: Rooms,
    accounts: Accounts,
}

impl Filling {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self { rooms: parts.rooms.clone(), accounts: parts.accounts.clone() }
    }

    /// Reads all rooms once, page by page.
    pub(crate) async fn run(&self) {
        let (mut after, mut known) = (None, HashSet::<UserNid>::new());
        loop {
            match self.rooms.names_of_others(after, &known).await {
                Ok((named, next)) => {
                    known.extend(named.iter().map(|user| user.nid));
                    self.accounts.list_missing_others(named.into_iter().map(listed));
                    after = next;
                }
                Err(error) => {
                    tracing::warn!(%error, "the user directory lacks users of other servers");
                    return;
                }
            }
            if after.is_none() || known.len() >= wardroom_accounts::OTHERS_MAX {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
