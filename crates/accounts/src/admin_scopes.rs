//! What administrators of the server may do: all of it, or parts of it that were left to them.

use std::fmt;

use ruma::UserId;
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Packed};

use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{ADMIN_SCOPES, USERS},
};

/// A part of what administrators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminScope {
    /// Accounts, devices, registration.
    Users,
    /// Rooms, and who is in them.
    Rooms,
    /// Reading what users wrote and uploaded.
    Privacy,
    /// Reading what administrators and users did.
    Audit,
    /// The server itself: other servers, notices, media storage.
    Operation,
    /// Taking what administrators and users did out of the server.
    #[serde(rename = "audit_export")]
    AuditExport,
}

impl AdminScope {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Users, Self::Rooms, Self::Privacy, Self::Audit, Self::Operation, Self::AuditExport];

    /// The word for it in requests and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Rooms => "rooms",
            Self::Privacy => "privacy",
            Self::Audit => "audit",
            Self::Operation => "operation",
            Self::AuditExport => "audit_export",
        }
    }

    /// The part that this word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for AdminScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminScopes(u8);

impl AdminScopes {
    /// None.
    pub const NONE: Self = Self(0);
    /// All of them, those to come too: an administrator who is not restricted.
    pub const ALL: Self = Self(u8::MAX);

    /// Whether this part is among them.
    pub const fn has(self, scope: AdminScope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether all of the others are among them.
    pub const fn cover(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Whether nothing is left out.
    pub const fn is_all(self) -> bool {
        self.0 == u8::MAX
    }

    /// The parts, in their order.
    pub fn list(self) -> Vec<AdminScope> {
        AdminScope::ALL.into_iter().filter(|scope| self.has(*scope)).collect()
    }
}

impl FromIterator<AdminScope> for AdminScopes {
    fn from_iter<T: IntoIterator<Item = AdminScope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl Accounts {
    /// What a user may do as an administrator: none of it where they are none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admin_scopes(&self, user: UserNid) -> Result<AdminScopes, AccountError> {
        let view = self.0.store.latest();
        match view.get(&USERS, &user.get()).await? {
            Some(Packed(row)) if row.admin && !row.deactivated => {
                let restricted = view.get(&ADMIN_SCOPES, &user.get()).await?;
                Ok(restricted.map_or(AdminScopes::ALL, |Packed(scopes)| scopes))
            }
            _ => Ok(AdminScopes::NONE),
        }
    }

    /// Restricts an administrator to these parts, or to nothing less than all. Holds until it is set anew, also while
    /// the user is no administrator.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], or the store's.
    pub async fn set_admin_scopes(&self, user: &UserId, scopes: AdminScopes) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, version) = self.active_row(user).await?;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            if scopes.is_all() {
                batch.delete(&ADMIN_SCOPES, &nid.get());
            } else {
                batch.put(&ADMIN_SCOPES, &nid.get(), &Packed(scopes));
            }
            self.record_change(&mut batch, user, "admin.scopes");
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::{AdminScope, AdminScopes};

    #[test]
    fn scopes_cover_and_name_each_other() {
        for scope in AdminScope::ALL {
            assert_eq!(AdminScope::from_word(scope.word()), Some(scope));
            assert!(AdminScopes::ALL.has(scope) && !AdminScopes::NONE.has(scope));
        }
        let two: AdminScopes = [AdminScope::Rooms, AdminScope::Privacy].into_iter().collect();
        assert_eq!(two.list(), [AdminScope::Rooms, AdminScope::Privacy]);
        assert!(AdminScopes::ALL.cover(two) && !two.cover(AdminScopes::ALL) && two.cover(AdminScopes::NONE));
        let every: AdminScopes = AdminScope::ALL.into_iter().collect();
        assert!(!every.is_all(), "what comes later is not among them");
        assert_eq!(AdminScope::from_word("root"), None);
    }
}
