//! Work that no request waits for.

use std::time::Duration;

use tracing::warn;
use wardroom_accounts::Accounts;
use wardroom_admin_api::Notices;
use wardroom_care::Care;
use wardroom_client_api::ClientState;
use wardroom_directories::Directories;
use wardroom_holds::Holds;
use wardroom_media::Media;
use wardroom_provisioning::Provisioning;
use wardroom_rooms::{Follower, MemberProfile, Profiles, Rooms};

use crate::{config::Config, endings::Endings, telling};

/// How often what has expired is dropped.
const UPKEEP_PERIOD: Duration = Duration::from_secs(60 * 60);

/// Starts what runs as long as the server does.
pub(crate) fn start(
    client: &ClientState,
    (media, holds, config): (&Media, Holds, &Config),
    (care, directories): (&Care, &Directories),
    provisioning: &Provisioning,
    notices: Option<&Notices>,
) {
    let endings = Endings::new(client, media, holds, config);
    let ClientState { rooms, accounts, push, sync, federation, stopping, .. } = client;
    tokio::spawn(stopping.clone().run_until_cancelled_owned(fill_user_directory(accounts.clone())));
    let (audit, windows) = (client.audit.clone(), client.audit.clone());
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { audit.run().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { windows.run_windows().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(media.clone().run_upkeep()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.run_typing()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.run_delayed()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(run_retention(rooms.clone(), endings)));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(media.clone().run_shredding()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(accounts.settings().holds.clone().run()));
    if let Some(notices) = notices {
        let telling = telling::run(rooms.clone(), notices.clone());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(telling));
    }
    let tasks = rooms.clone().run_tasks(profiles(accounts.clone()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(tasks));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(sync.run_presence()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(upkeep(rooms.clone(), accounts.clone())));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(push.clone().run()));
    let (looking, inviting) = (care.clone(), care.clone());
    let (emergencies, listening) = (care.clone(), care.clone());
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { inviting.run_invitations().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { looking.run().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { emergencies.run_emergencies().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { listening.run_access_bot().await }));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(directories.clone().run()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(provisioning.clone().run()));
    let guests = accounts.clone();
    let is_guest = move |user: ruma::OwnedUserId| {
        let guests = guests.clone();
        async move { guests.user(&user).await.ok().map(|user| user.is_some_and(|user| user.guest)) }
    };
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.clone().run_guests(is_guest)));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.clone().run_related()));
    if federation.is_some() {
        let care = care.clone();
        tokio::spawn(stopping.clone().run_until_cancelled_owned(async move { care.run_attestations().await }));
    }
    if federation.is_none() {
        tokio::spawn(unfollow(rooms.clone()));
    }
    if let Some(federation) = federation {
        tokio::spawn(stopping.clone().run_until_cancelled_owned(federation.clone().run()));
    }
}

/// How users are shown in rooms to which administrators move them.
fn profiles(accounts: Accounts) -> Profiles {
    Profiles::new(move |user| {
        let accounts = accounts.clone();
        Box::pin(async move {
            let profile = accounts.profile(&user).await.ok().flatten().unwrap_or_default();
            MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url }
        })
    })
}

/// Purges messages whose time is over, and what ends with them.
async fn run_retention(rooms: Rooms, endings: Endings) {
    rooms.run_retention(|now_ms| endings.clone().follow(now_ms)).await;
}

/// Without other servers nobody reads what they would be told: it need not be kept.
async fn unfollow(rooms: Rooms) {
    if let Err(error) = rooms.unfollow(Follower::Edus).await {
        warn!(%error, "what happens in rooms is kept for other servers, although there are none");
    }
}

/// Before the first search asks for it.
async fn fill_user_directory(accounts: Accounts) {
    if let Err(error) = accounts.fill_directory().await {
        warn!(%error, "the user directory could not be read yet");
    }
    if let Err(error) = accounts.fill_listing().await {
        warn!(%error, "the list of users could not be read yet");
    }
}

async fn upkeep(rooms: Rooms, accounts: Accounts) {
    let mut period = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        period.tick().await;
        if let Err(error) = rooms.forget_transactions().await {
            warn!(%error, "transaction ids of past days could not be dropped");
        }
        if let Err(error) = accounts.forget_to_device_transactions().await {
            warn!(%error, "transaction ids of messages to devices could not be dropped");
        }
        if let Err(error) = rooms.forget_delayed().await {
            warn!(%error, "what became of old delayed events could not be dropped");
        }
    }
}
