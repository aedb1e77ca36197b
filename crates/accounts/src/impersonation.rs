//! Signing in as somebody else, for administrators, where the operator allows it.

use ruma::UserId;
use wardroom_store::{Batch, Packed};

use crate::{
    AccountError, Accounts, Login, LoginRequest, UserNid,
    deeds::Entrance,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{ACCESS_TOKENS, TokenRow, USERS, domain},
};

/// What the device is called that comes with it: its user sees it.
const DEVICE_DISPLAY_NAME: &str = "Administrator";

impl Accounts {
    /// Signs in as a user on a device of its own, which the user sees and can end. What is done with it is recorded as the
    /// administrator's doing.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::Locked`],
    /// [`AccountError::Limit`], or the store's.
    pub async fn impersonate(
        &self,
        admin: UserNid,
        user: &UserId,
        valid_until_ms: Option<u64>,
    ) -> Result<Login, AccountError> {
        let request = LoginRequest { display_name: Some(DEVICE_DISPLAY_NAME), ..LoginRequest::default() };
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, version) = self.active_row(user).await?;
            let _lock = self.0.key_locks.lock(nid).await;
            self.check_unlocked(nid).await?;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            let login = self.sign_in(&mut batch, (nid, user), &request, true, &Entrance::Administrator(admin)).await?;
            if valid_until_ms.is_some() {
                let access = self.0.store.keyed_hash(domain::ACCESS_TOKEN, login.access_token.as_bytes());
                let (user, device) = self.device_key(nid, &login.device);
                // Of two writes of one batch to the same row the later one holds.
                batch.put(&ACCESS_TOKENS, &access, &Packed(TokenRow { user, device, expires_ms: valid_until_ms }));
            }
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(login);
            }
        }
        Err(AccountError::Contended)
    }
}
