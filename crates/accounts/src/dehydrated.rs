//! Dehydrated devices: [MSC3814](https://github.com/matrix-org/matrix-spec-proposals/pull/3814). A device that nobody is
//! signed in on: it receives keys while all others are logged out, until another device of its user takes them over.
//!
//! It is a device like any other to those who ask for keys and send messages; its tokens are known to nobody. A user has
//! one at most, and a new one takes its place in one commit.

use std::{fmt, str::FromStr};

use ruma::{DeviceId, OwnedDeviceId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wardroom_store::{Batch, DataKey, Packed, Position, Profile, Scan, Seal, Table};

use crate::{
    AccountError, Accounts, DEVICE_ID_BYTES_MAX, DEVICES_PER_USER_MAX, DeviceRef, KeyUpload, Session, ToDeviceEvent,
    UserNid,
    deeds::Ending,
    device::check_display_name,
    error::{CONFLICT_ROUNDS_MAX, settled},
    secret,
    tables::{DEVICES, DeviceRow, UserKey},
};

/// Largest `device_data`, in bytes of JSON. A device with a hundred one-time keys has about 5 KB.
pub const DEHYDRATED_DATA_BYTES_MAX: usize = 128 * 1_024;
/// Messages in one answer.
pub const DEHYDRATED_EVENTS_MAX: usize = 100;

/// (user, number of the device) -> [`DehydratedRow`]. One per user at most; it goes with the device's own row.
pub(crate) const DEHYDRATED: Table<(UserKey, u64), Packed<DehydratedRow>> =
    Table::new(0x0148, "dehydrated_devices", Profile::Scan, Seal::Scoped).compressed();

/// What belongs to a dehydrated device beside the row that all devices have.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DehydratedRow {
    device_id: String,
    /// JSON, as the client wrote it.
    device_data: String,
}

impl fmt::Debug for DehydratedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DehydratedRow").finish_non_exhaustive()
    }
}

/// A device to be kept for later.
#[derive(Clone, Debug)]
pub struct NewDehydrated<'a> {
    /// Its id.
    pub device_id: &'a DeviceId,
    /// The encrypted device, opaque to servers.
    pub device_data: &'a RawValue,
    /// What the user's other devices call it.
    pub display_name: Option<&'a str>,
    /// Its public keys; with `device_keys`.
    pub keys: &'a KeyUpload,
}

/// A dehydrated device.
#[derive(Clone, Debug)]
pub struct Dehydrated {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// The encrypted device, as it was uploaded.
    pub device_data: Box<RawValue>,
}

/// Messages to a dehydrated device.
#[derive(Clone, Debug)]
pub struct DehydratedEvents {
    /// Oldest first.
    pub events: Vec<ToDeviceEvent>,
    /// Where to continue: behind the last message, or where the page began.
    pub next: DehydratedToken,
    /// More messages are there.
    pub more: bool,
}

/// A place among the messages to a dehydrated device, written `d<position>`; the first is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DehydratedToken(Position);

/// Text that is no such token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a token that this server gave")]
pub struct BadDehydratedToken;

impl fmt::Display for DehydratedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0.get())
    }
}

impl FromStr for DehydratedToken {
    type Err = BadDehydratedToken;

    fn from_str(token: &str) -> Result<Self, BadDehydratedToken> {
        // Digits alone: `parse` would take a sign as well.
        let digits = token.strip_prefix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let position = digits.and_then(|digits| digits.parse().ok()).ok_or(BadDehydratedToken)?;
        Ok(Self(Position::new(position)))
    }
}

impl Accounts {
    /// Keeps a dehydrated device in the place of the one before.
    ///
    /// # Errors
    /// [`AccountError::Invalid`], [`AccountError::Malformed`], [`AccountError::Limit`], [`AccountError::KeyIdInUse`], or
    /// the store's; nothing has changed then.
    pub async fn dehydrate(&self, session: &Session, new: &NewDehydrated<'_>) -> Result<(), AccountError> {
        check(new)?;
        let user = session.nid;
        let key = self.device_key(user, new.device_id);
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            let view = self.0.store.latest();
            let devices = view.scan_versioned(&DEVICES, Scan::prefix(&user.get())).await?;
            let old = self.dehydrated_nid(user).await?;
            let mut others = 0_usize;
            let mut taken = false;
            for (place, Packed(row), version) in &devices {
                if Some(row.nid) == old {
                    self.end_device(&mut batch, place, row, *version, Ending::Replaced).await?;
                } else {
                    others += 1;
                    taken |= *place == key;
                }
            }
            if taken {
                let problem = "is the id of a device that you are signed in on";
                return Err(AccountError::Invalid { field: "device_id", problem });
            }
            if others >= DEVICES_PER_USER_MAX {
                let what = "The number of devices you are signed in on";
                return Err(AccountError::Limit { what, limit: DEVICES_PER_USER_MAX });
            }
            if self.is_cross_signing_key(user, new.device_id).await? {
                return Err(AccountError::KeyIdInUse);
            }
            if !devices.iter().any(|(place, ..)| *place == key) {
                batch.expect_absent(&DEVICES, &key);
            }
            let nid = self.put_dehydrated(&mut batch, user, new, &self.person_key(user).await?);
            let device = DeviceRef { user, nid };
            self.put_first_keys(&mut batch, &session.user, new.device_id, device, new.keys).await?;
            self.announce_devices(&mut batch, user).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Adds the rows of a new device to the batch; answers its number.
    fn put_dehydrated(&self, batch: &mut Batch, user: UserNid, new: &NewDehydrated<'_>, person: &DataKey) -> u64 {
        let row = DeviceRow {
            nid: secret::device_number(),
            device_id: new.device_id.as_str().to_owned(),
            display_name: new.display_name.map(str::to_owned),
            created_ms: self.now_ms(),
            signed_in_ms: self.now_ms(),
            // Of a token that is thrown away: no session opens this device.
            current: self.mint(false).pair,
            previous: None,
            administrator: None,
        };
        let data = DehydratedRow { device_id: row.device_id.clone(), device_data: new.device_data.get().to_owned() };
        let nid = row.nid;
        batch.put_sealed(&DEHYDRATED, &(user.get(), nid), &Packed(data), person);
        batch.put_sealed(&DEVICES, &self.device_key(user, new.device_id), &Packed(row), person);
        nid
    }

    /// The user's dehydrated device.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dehydrated(&self, user: UserNid) -> Result<Option<Dehydrated>, AccountError> {
        let found = self.0.store.latest().scan(&DEHYDRATED, Scan::prefix(&user.get()).limit(1)).await?;
        let Some((_, Packed(row))) = found.into_iter().next() else { return Ok(None) };
        let device_data = RawValue::from_string(row.device_data);
        let device_data = device_data.map_err(|_| AccountError::Damaged("dehydrated device"))?;
        Ok(Some(Dehydrated { device_id: OwnedDeviceId::from(row.device_id.as_str()), device_data }))
    }

    /// Deletes the user's dehydrated device; answers its id, `None` when there was none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_dehydrated(&self, user: UserNid) -> Result<Option<OwnedDeviceId>, AccountError> {
        let Some(found) = self.dehydrated(user).await? else { return Ok(None) };
        self.delete_devices(user, std::slice::from_ref(&found.device_id)).await?;
        Ok(Some(found.device_id))
    }

    /// Messages that came for the user's dehydrated device behind `after`. They stay until the device goes: whoever
    /// takes them over may fail, and another try. `None` when the dehydrated device is another one, or there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dehydrated_events(
        &self,
        user: UserNid,
        device: &DeviceId,
        after: DehydratedToken,
    ) -> Result<Option<DehydratedEvents>, AccountError> {
        let found = self.0.store.latest().scan(&DEHYDRATED, Scan::prefix(&user.get()).limit(1)).await?;
        let found = found.into_iter().next().filter(|(_, Packed(row))| row.device_id == device.as_str());
        let Some(((_, nid), _)) = found else { return Ok(None) };
        let now = self.0.store.position();
        let mut events = self.to_device_events(nid, after.0, now, DEHYDRATED_EVENTS_MAX + 1).await?;
        let more = events.len() > DEHYDRATED_EVENTS_MAX;
        events.truncate(DEHYDRATED_EVENTS_MAX);
        let next = events.last().map_or(after, |last| DehydratedToken(last.position));
        Ok(Some(DehydratedEvents { events, next, more }))
    }

    /// Whether a device of this number is the user's dehydrated one.
    pub(crate) async fn is_dehydrated(&self, user: UserNid, nid: u64) -> Result<bool, AccountError> {
        Ok(self.dehydrated_nid(user).await? == Some(nid))
    }

    async fn dehydrated_nid(&self, user: UserNid) -> Result<Option<u64>, AccountError> {
        let found = self.0.store.latest().scan_keys(&DEHYDRATED, Scan::prefix(&user.get()).limit(1)).await?;
        Ok(found.first().map(|(_, nid)| *nid))
    }
}

fn check(new: &NewDehydrated<'_>) -> Result<(), AccountError> {
    if new.device_id.as_str().is_empty() {
        return Err(AccountError::Invalid { field: "device_id", problem: "is empty" });
    }
    if new.device_id.as_str().len() > DEVICE_ID_BYTES_MAX {
        let what = "The length of `device_id`, in bytes,";
        return Err(AccountError::Limit { what, limit: DEVICE_ID_BYTES_MAX });
    }
    if let Some(name) = new.display_name {
        check_display_name(name)?;
    }
    if new.device_data.get().len() > DEHYDRATED_DATA_BYTES_MAX {
        let what = "The size of `device_data`, in bytes,";
        return Err(AccountError::Limit { what, limit: DEHYDRATED_DATA_BYTES_MAX });
    }
    #[derive(Deserialize)]
    struct Data {
        #[expect(dead_code, reason = "only that it is there")]
        algorithm: String,
    }
    let data = serde_json::from_str::<Data>(new.device_data.get());
    data.map(drop).map_err(|error| AccountError::Malformed { field: "device_data", problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BadDehydratedToken, DehydratedToken, Position};

    #[test]
    fn junk_is_no_token() {
        for junk in ["", "d", "d-1", "d+1", "d 1", "s1", "1", "d99999999999999999999"] {
            assert_eq!(junk.parse::<DehydratedToken>(), Err(BadDehydratedToken), "{junk}");
        }
    }

    proptest! {
        #[test]
        fn every_token_survives_the_client(position: u64) {
            let token = DehydratedToken(Position::new(position));
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }
    }
}
