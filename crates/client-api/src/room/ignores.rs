//! Whom a reader ignores, as the room engine asks for it.

use ruma::UserId;
use wardroom_accounts::IgnoredUsers;
use wardroom_rooms::{Actor, Viewer};

type IsIgnored = dyn Fn(&UserId) -> bool + Send + Sync;

/// Answers whether a user is ignored; nothing where nobody is.
pub(super) struct Ignores(Option<Box<IsIgnored>>);

impl Ignores {
    pub(super) fn of(ignored: &IgnoredUsers) -> Self {
        if ignored.is_empty() {
            return Self(None);
        }
        let ignored = ignored.clone();
        Self(Some(Box::new(move |user| ignored.contains(user))))
    }

    /// Somebody who ignores them.
    pub(super) fn viewer<'a>(&'a self, actor: Actor<'a>) -> Viewer<'a> {
        Viewer { actor, ignores: self.0.as_deref() }
    }
}
