//! Notices of the server to its users (client-server API, section "Server Notices").
//!
//! Each user has one room with the server, which is made with the first notice: the service user of the configuration
//! invites them, and nobody else speaks there. The user can leave it, but not turn the invitation down.

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId, TransactionId, UserId};
use serde_json::{Map, value::RawValue as RawJsonValue};
use tokio::sync::Mutex;
use wardroom_accounts::{AccountError, Accounts, User};
use wardroom_rooms::{Actor, MemberProfile, Membership, NewRoom, Preset, RoomError, RoomNid, Rooms, UserNid};

/// The tag by which clients know the room.
const TAG: &str = "m.server_notice";

/// What an operator decides about notices.
#[derive(Clone, Debug, Default)]
pub struct NoticeSettings {
    /// Local part of the service user.
    pub localpart: String,
    /// Display name of the service user.
    pub display_name: String,
    /// `mxc://` URI of the service user's picture, empty for none.
    pub avatar_url: String,
    /// Name of the rooms.
    pub room_name: String,
}

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// There is no such active user.
    #[error("user_id: there is no such user on this server")]
    UnknownUser,
    /// The accounts failed.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// The rooms failed.
    #[error(transparent)]
    Rooms(#[from] RoomError),
}

/// Sends notices. Clones share everything.
#[derive(Clone, Debug)]
pub struct Notices(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    accounts: Accounts,
    rooms: Rooms,
    settings: NoticeSettings,
    /// Held while a room is looked for and made, so that a user gets one.
    making: Mutex<()>,
}

/// A notice to one user.
#[derive(Debug)]
pub struct Notice<'a> {
    /// Whom it is for.
    pub user: &'a UserId,
    /// Event type; `m.room.message` as a rule.
    pub kind: &'a str,
    /// State key of a state event.
    pub state_key: Option<&'a str>,
    /// Content.
    pub content: Box<RawJsonValue>,
    /// By which a repeated request is recognized.
    pub transaction: Option<&'a TransactionId>,
}

impl Notices {
    /// Notices from the service user of the settings.
    pub fn new(accounts: Accounts, rooms: Rooms, settings: NoticeSettings) -> Self {
        Self(Arc::new(Inner { accounts, rooms, settings, making: Mutex::default() }))
    }

    /// Whether it is by this user that notices are sent.
    pub fn is_sender(&self, user: &UserId) -> bool {
        self.0.accounts.typed_user(&self.0.settings.localpart).is_some_and(|sender| sender == user)
    }

    /// Sends a notice, in the room that the user has for it or in a new one.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub async fn send(&self, notice: Notice<'_>) -> Result<OwnedEventId, NoticeError> {
        let inner = &*self.0;
        let settings = &inner.settings;
        let user = inner.accounts.user(notice.user).await?.filter(|user| !user.deactivated);
        let user = user.ok_or(NoticeError::UnknownUser)?;
        let service = inner.service_user(settings).await?;
        // No client of the service user has this device: its transactions are those of notices.
        let device = ruma::device_id!("server notices");
        let actor = Actor { device: Some(device), ..actor(&service) };
        let room = {
            let _alone = inner.making.lock().await;
            inner.room(settings, &service, &user).await?
        };
        Ok(match notice.state_key {
            Some(state_key) => {
                inner.rooms.set_state(actor, &room, &notice.kind.into(), state_key, notice.content).await?
            }
            None => inner.rooms.send(actor, &room, notice.kind, notice.content, notice.transaction).await?,
        })
    }
}

fn actor(user: &User) -> Actor<'_> {
    Actor { user: &user.id, nid: UserNid::new(user.nid.get()), device: None, guest: false }
}

impl Inner {
    /// The service user as the settings want it, made if need be.
    async fn service_user(&self, settings: &NoticeSettings) -> Result<User, NoticeError> {
        let id = self.accounts.typed_user(&settings.localpart);
        let id = id.ok_or(AccountError::InvalidUsername("server_notices.localpart: is no user name."))?;
        let user = self.accounts.own_user(&id).await?;
        let profile = self.accounts.profile(&user.id).await?.unwrap_or_default();
        if profile.displayname.as_deref().unwrap_or_default() != settings.display_name {
            let name = Some(settings.display_name.as_str()).filter(|name| !name.is_empty());
            self.accounts.set_displayname(&user.id, name).await?;
        }
        if profile.avatar_url.as_deref().unwrap_or_default() != settings.avatar_url {
            let url = Some(settings.avatar_url.as_str()).filter(|url| !url.is_empty());
            self.accounts.set_avatar_url(&user.id, url.map(<&ruma::MxcUri>::from)).await?;
        }
        Ok(user)
    }

    /// The user's room, into which the user is invited again after leaving it.
    async fn room(&self, settings: &NoticeSettings, service: &User, user: &User) -> Result<OwnedRoomId, NoticeError> {
        let profile = self.member_profile(user).await?;
        if let Some(number) = self.accounts.notice_room(user.nid).await? {
            let nid = RoomNid::new(number);
            let membership = |of: &User| self.rooms.membership(UserNid::new(of.nid.get()), nid);
            let serving = membership(service).await?.is_some_and(|entry| entry.membership == Membership::Join);
            if serving {
                let room = self.rooms.view_of(nid).await?;
                let now = membership(user).await?.map(|entry| entry.membership);
                if !matches!(now, Some(Membership::Join | Membership::Invite)) {
                    self.rooms.invite(actor(service), &room.id, &user.id, profile, None).await?;
                }
                return Ok(room.id.clone());
            }
        }
        let room = self.rooms.create(actor(service), self.new_room(settings, service).await?).await?;
        let view = self.rooms.view(&room).await?.ok_or(RoomError::NoSuchRoom)?;
        // Before the user hears of the room as anything else: the tag is in the first sync after this.
        self.accounts.set_notice_room(user.nid, view.nid.get()).await?;
        let nothing = RawJsonValue::from_string("{}".to_owned()).map_err(|_| AccountError::Damaged("tag"))?;
        self.accounts.set_tag(user.nid, view.nid.get(), TAG, &nothing).await?;
        self.rooms.invite(actor(service), &room, &user.id, profile, None).await?;
        Ok(room)
    }

    async fn member_profile(&self, user: &User) -> Result<MemberProfile, NoticeError> {
        let profile = self.accounts.profile(&user.id).await?.unwrap_or_default();
        Ok(MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url })
    }

    async fn new_room(&self, settings: &NoticeSettings, service: &User) -> Result<NewRoom, NoticeError> {
        let mut power_levels = Map::new();
        // Nobody but the server speaks here.
        power_levels.insert("users_default".to_owned(), (-10).into());
        Ok(NewRoom {
            version: None,
            preset: Preset::PrivateChat,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels,
            name: Some(settings.room_name.clone()).filter(|name| !name.is_empty()),
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: self.member_profile(service).await?,
        })
    }
}
