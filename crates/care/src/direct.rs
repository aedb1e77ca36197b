//! Direct chats of the server's own user with users of this server.

use ruma::{OwnedRoomId, UserId};
use serde_json::{
    Map, json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_accounts::User;
use wardroom_rooms::{MemberProfile, Membership, NewRoom, Preset, RoomError, RoomNid, UserNid};
use wardroom_store::{Batch, Packed, Profile, Seal, Table};

use crate::{Care, CareError, service_user::actor};

/// User -> the direct chat that the server's own user made with them.
pub(crate) const DIRECT_ROOMS: Table<UserNid, Packed<RoomNid>> =
    Table::new(0x0625, "direct_rooms", Profile::Point, Seal::System);

/// Direct chat -> with whom. The server's own user listens in these rooms alone.
pub(crate) const CHATS: Table<RoomNid, Packed<UserNid>> =
    Table::new(0x0626, "access_chats", Profile::Point, Seal::System);

/// What the server's own user says: notices, which no bot answers.
pub(crate) fn notice(text: &str) -> Result<Box<RawJsonValue>, CareError> {
    let content = json!({ "msgtype": "m.notice", "body": text, "m.mentions": {} });
    Ok(to_raw_value(&content).map_err(|error| RoomError::BadContent(error.to_string()))?)
}

impl Care {
    /// Tells a user of this server something in the direct chat with them. With the same transaction it is told once.
    ///
    /// # Errors
    /// [`CareError::Refused`] where there is no such user here; those of rooms.
    pub(crate) async fn tell(&self, user: &UserId, transaction: &str, text: &str) -> Result<(), CareError> {
        let account = self.0.accounts.user(user).await?.filter(|account| !account.deactivated);
        let account = account.ok_or_else(|| CareError::Refused("there is no such user on this server".to_owned()))?;
        let room = {
            let _alone = self.0.chatting.lock().await;
            self.direct_room(&account).await?
        };
        self.0.service.send(&room, transaction, notice(text)?).await.map(drop)
    }

    /// The direct chat with a user, who is invited again after leaving it.
    async fn direct_room(&self, user: &User) -> Result<OwnedRoomId, CareError> {
        let (inner, service) = (&*self.0, self.0.service.account().await?);
        let (nid, own) = (UserNid::new(user.nid.get()), UserNid::new(service.nid.get()));
        let profile = inner.accounts.profile(&user.id).await?.unwrap_or_default();
        let profile = MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url };
        if let Some(Packed(room)) = inner.store.latest().get(&DIRECT_ROOMS, &nid).await? {
            let membership = async |user| inner.rooms.membership(user, room).await;
            if membership(own).await?.is_some_and(|entry| entry.membership == Membership::Join) {
                let view = inner.rooms.view_of(room).await?;
                let now = membership(nid).await?.map(|entry| entry.membership);
                if !matches!(now, Some(Membership::Join | Membership::Invite)) {
                    inner.service.invite(&view, &user.id, profile).await?;
                }
                return Ok(view.id.clone());
            }
        }
        let new = NewRoom { invite: vec![(user.id.clone(), profile)], ..self.new_chat() };
        let room = inner.rooms.create(actor(&service.id, own), new).await?;
        let view = inner.rooms.view(&room).await?.ok_or(RoomError::NoSuchRoom)?;
        let mut batch = Batch::default();
        batch.put(&DIRECT_ROOMS, &nid, &Packed(view.nid));
        batch.put(&CHATS, &view.nid, &Packed(nid));
        inner.store.commit(batch).await?;
        Ok(room)
    }

    fn new_chat(&self) -> NewRoom {
        NewRoom {
            version: None,
            preset: Preset::TrustedPrivateChat,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels: Map::new(),
            name: None,
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: true,
            listed: false,
            profile: self.0.service.profile(),
        }
    }
}
