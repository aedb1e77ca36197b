//! What the audit trail hears of accounts: a record in the batch of each change, and one of each refusal.

use quick_cache::sync::Cache;
use ruma::{DeviceId, UserId};
use sha2::{Digest as _, Sha256};
use wardroom_audit::{Act, AuditError, Outcome, Record};
use wardroom_store::{Batch, CommitError, Packed};

use crate::{
    AccountError, Accounts, Session, UserNid,
    sso::SsoOrigin,
    tables::{DeviceKey, DeviceRow},
};

/// Sessions that are known to have ended by themselves, about 40 bytes each. Of one that was forgotten the end is recorded
/// again when somebody still uses its token.
const OVER_MAX: usize = 16_384;

/// How somebody came to a session.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// By password.
    Password,
    /// By a login token of another device.
    Token,
    /// By way of an identity provider, which knows them by this name.
    Provider(Option<String>),
    /// By making an account.
    Registration,
    /// An administrator made the device.
    Device,
    /// This administrator acts in the user's name.
    Administrator(UserNid),
}

/// Why a device goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Its user signed out there.
    Logout,
    /// All devices of the user were signed out.
    All,
    /// The password was changed.
    Password,
    /// The session at the identity provider ended.
    Provider,
    /// The account was closed.
    Account,
    /// It was deleted.
    Deleted,
    /// A dehydrated device whose place another takes.
    Replaced,
}

impl Ending {
    const fn told(self) -> (Act, &'static str) {
        match self {
            Self::Logout => (Act::Logout, "one"),
            Self::All => (Act::Logout, "all"),
            Self::Password => (Act::Logout, "password"),
            Self::Provider => (Act::Logout, "provider"),
            Self::Account => (Act::Logout, "account"),
            Self::Deleted => (Act::DeviceDelete, "deleted"),
            Self::Replaced => (Act::DeviceDelete, "replaced"),
        }
    }
}

/// Sessions whose end was recorded: (device, when somebody signed in on it).
pub(crate) type Over = Cache<(DeviceKey, u64), ()>;

pub(crate) fn over() -> Over {
    Cache::new(OVER_MAX)
}

impl From<AuditError> for AccountError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::DiskFull => CommitError::DiskFull.into(),
            AuditError::Commit(error) => error.into(),
            AuditError::Read(error) => error.into(),
            _ => Self::Damaged("audit trail"),
        }
    }
}

impl Accounts {
    /// Leaves the record of a change of an account.
    pub(crate) fn record_change(&self, batch: &mut Batch, user: &UserId, what: &'static str) {
        self.record(batch, Record::of(Act::AccountChange).user(user.as_str()).detail(what));
    }

    pub(crate) fn record(&self, batch: &mut Batch, record: Record) {
        self.0.audit.add(batch, record);
    }

    /// Leaves the record of a session that begins. Who signs in is who asks, unless an administrator does it for them.
    pub(crate) fn record_login(&self, batch: &mut Batch, user: &UserId, device: &DeviceId, by: &Entrance) {
        let (act, kind) = match by {
            Entrance::Password => (Act::Login, "password"),
            Entrance::Token => (Act::Login, "token"),
            Entrance::Provider(_) => (Act::Login, "provider"),
            Entrance::Registration => (Act::Login, "registration"),
            Entrance::Device => (Act::Login, "device"),
            Entrance::Administrator(_) => (Act::AdminImpersonate, "login"),
        };
        let mut record = Record::of(act).user(user.as_str()).device(device.as_str()).detail(kind);
        if record.who.user.is_none() && record.who.service.is_none() {
            record.who.user = Some(user.to_string());
            record.who.device = Some(device.to_string());
            if let Entrance::Provider(subject) = by {
                record.who.subject.clone_from(subject);
            }
        }
        self.record(batch, record);
    }

    /// Leaves the record of a device that goes.
    pub(crate) async fn record_end(
        &self,
        batch: &mut Batch,
        key: &DeviceKey,
        row: &DeviceRow,
        ending: Ending,
    ) -> Result<(), AccountError> {
        let user = self.user_id(UserNid::new(key.0)).await?;
        let (act, why) = ending.told();
        self.record(batch, Record::of(act).user(user.as_str()).device(row.device_id.as_str()).detail(why));
        Ok(())
    }

    /// Records, once, that a session has ended by itself: with the first request that it is too old for, which nobody has
    /// answered yet.
    pub(crate) async fn record_over(&self, session: &Session) -> Result<(), AccountError> {
        let key = (session.device_key, session.signed_in_ms);
        if self.0.over.get(&key).is_some() {
            return Ok(());
        }
        let record = Record::of(Act::Logout).user(session.user.as_str()).device(session.device.as_str());
        self.0.audit.write(record.detail("time")).await?;
        self.0.over.insert(key, ());
        Ok(())
    }

    /// Records that somebody did not get in. Of who has no account here no name is kept: people type their passwords there.
    pub(crate) async fn record_refused(
        &self,
        user: Option<&UserId>,
        typed: Option<&str>,
        how: &'static str,
        error: &AccountError,
    ) -> Result<(), AccountError> {
        let why = match error {
            AccountError::WrongPassword => "credentials",
            AccountError::UnknownLoginToken => "login token",
            AccountError::Deactivated => "deactivated",
            AccountError::Locked => "locked",
            AccountError::OwnUser | AccountError::UnknownUser => "no person",
            // Not refused: it did not work.
            _ => return Ok(()),
        };
        let record = Record::of(Act::LoginFailed).outcome(Outcome::Minor).detail(how).why(why);
        let record = match (user, typed) {
            (Some(user), _) => record.user(user.as_str()),
            (None, Some(typed)) => record.name(hex(&Sha256::digest(typed.as_bytes()))),
            (None, None) => record,
        };
        Ok(self.0.audit.write(record).await?)
    }

    /// Leaves the record of a change of a user's key backup.
    pub(crate) async fn record_backup(
        &self,
        batch: &mut Batch,
        user: UserNid,
        version: u64,
        what: &'static str,
    ) -> Result<(), AccountError> {
        let user = self.user_id(user).await?;
        let record = Record::of(Act::AccountChange).user(user.as_str()).detail(what);
        self.record(batch, record.name(version.to_string()));
        Ok(())
    }

    /// Records that somebody gets keys out of a backup, which clients do one by one.
    pub(crate) async fn record_restore(&self, user: UserNid, version: u64) -> Result<(), AccountError> {
        let user = self.user_id(user).await?;
        let record = Record::of(Act::KeysRestore).user(user.as_str()).name(version.to_string());
        Ok(self.0.audit.write(record).await?)
    }

    /// The name by which the provider knows who signed in.
    pub(crate) async fn subject_of(&self, user: UserNid, origin: &SsoOrigin) -> Result<Option<String>, AccountError> {
        let row = self.0.store.latest().get(&crate::sso::SSO_USERS, &(user.get(), origin.subject())).await?;
        Ok(row.map(|Packed(link)| link.subject))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        use std::fmt::Write as _;
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
