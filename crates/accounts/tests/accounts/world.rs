//! A server's accounts with a clock that tests set, and cheap passwords.

use std::sync::Arc;

use ruma::{DeviceId, OwnedUserId, server_name};
use wardroom_accounts::{Accounts, Login, LoginRequest, PasswordCost, Settings, TABLES, TokenError, User};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_store::{Catalogue, Store};

pub(crate) const SERVER: &str = "hospital-a.example";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) accounts: Accounts,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) async fn world() -> World {
    world_with(|_| ()).await
}

pub(crate) async fn world_with(change: impl FnOnce(&mut Settings)) -> World {
    let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let mut settings = Settings::new(server_name!("hospital-a.example").to_owned());
    settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
    change(&mut settings);
    let accounts = Accounts::new(store.clone(), clock.clone(), AuditLog::silent(), settings).await.unwrap();
    World { accounts, store, clock }
}

impl World {
    pub(crate) async fn user(&self, localpart: &str) -> User {
        self.accounts.create_user(localpart, Some(PASSWORD), false).await.unwrap()
    }

    pub(crate) async fn login(&self, user: &User) -> Login {
        self.accounts.login_as(&user.id, &LoginRequest::default()).await.unwrap()
    }

    pub(crate) async fn login_on(&self, user: &User, device: &DeviceId) -> Login {
        let request = LoginRequest { device_id: Some(device), ..LoginRequest::default() };
        self.accounts.login_as(&user.id, &request).await.unwrap()
    }

    pub(crate) async fn login_refreshable(&self, user: &User) -> Login {
        let request = LoginRequest { refresh: true, ..LoginRequest::default() };
        self.accounts.login_as(&user.id, &request).await.unwrap()
    }

    /// Who the token belongs to.
    pub(crate) async fn whoami(&self, token: &str) -> Option<OwnedUserId> {
        match self.accounts.authenticate(token).await {
            Ok(session) => Some(session.user.clone()),
            Err(TokenError::Unknown) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
