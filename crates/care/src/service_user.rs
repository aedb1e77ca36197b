//! The user that acts for the server in rooms with a policy: it removes whom only a member with power can remove.

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId, device_id, events::StateEventType};
use serde_json::{
    Map, Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_accounts::{Accounts, User};
use wardroom_event::{PowerLevels, UserPower};
use wardroom_rooms::{Actor, MemberProfile, Membership, RoomError, RoomView, Rooms, UserNid};

use crate::{CareError, policy::ACCESS_POLICY};

/// The level that the user wants in rooms, as a room's first administrator has.
pub(crate) const LEVEL: i64 = 100;

/// The server's own user in rooms.
#[derive(Debug)]
pub(crate) struct ServiceUser {
    id: OwnedUserId,
    display_name: String,
    accounts: Accounts,
    rooms: Rooms,
    moving: tokio::sync::Mutex<()>,
}

/// Acts for a user of this server.
pub(crate) fn actor<'a>(id: &'a UserId, nid: UserNid) -> Actor<'a> {
    Actor { user: id, nid, device: None, guest: false }
}

impl ServiceUser {
    pub(crate) fn new(id: OwnedUserId, display_name: String, accounts: Accounts, rooms: Rooms) -> Self {
        Self { id, display_name, accounts, rooms, moving: tokio::sync::Mutex::default() }
    }

    pub(crate) fn id(&self) -> &UserId {
        &self.id
    }

    /// The account, made on first use. Nobody can log in to it.
    pub(crate) async fn account(&self) -> Result<User, CareError> {
        let user = self.accounts.own_user(&self.id).await?;
        let profile = self.accounts.profile(&user.id).await?.unwrap_or_default();
        if profile.displayname.as_deref() != Some(&self.display_name) {
            self.accounts.set_displayname(&user.id, Some(&self.display_name)).await?;
        }
        Ok(user)
    }

    pub(crate) fn display_name(&self) -> &str {
        &self.display_name
    }

    /// Whether a user of this server is there, and no guest.
    pub(crate) async fn has_account(&self, user: &UserId) -> Result<bool, CareError> {
        Ok(self.accounts.user(user).await?.is_some_and(|user| !user.deactivated && !user.guest))
    }

    /// How a user of this server is shown.
    pub(crate) async fn profile_of(&self, user: &UserId) -> Result<MemberProfile, CareError> {
        let profile = self.accounts.profile(user).await?.unwrap_or_default();
        Ok(MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url })
    }

    /// Puts somebody out of a room.
    pub(crate) async fn kick(&self, room: &RoomView, user: &UserId, reason: &str) -> Result<(), CareError> {
        let account = self.account().await?;
        let nid = UserNid::new(account.nid.get());
        Ok(self.rooms.kick(actor(&self.id, nid), &room.id, user, Some(reason.to_owned())).await?)
    }

    /// Sets a state of a room.
    pub(crate) async fn set_state(
        &self,
        room: &RoomView,
        kind: &StateEventType,
        content: Box<RawJsonValue>,
    ) -> Result<OwnedEventId, CareError> {
        self.set_state_at(room, kind, "", content).await
    }

    /// Sets a state of a room, under a state key.
    pub(crate) async fn set_state_at(
        &self,
        room: &RoomView,
        kind: &StateEventType,
        state_key: &str,
        content: Box<RawJsonValue>,
    ) -> Result<OwnedEventId, CareError> {
        let account = self.account().await?;
        let nid = UserNid::new(account.nid.get());
        Ok(self.rooms.set_state(actor(&self.id, nid), &room.id, kind, state_key, content).await?)
    }

    /// Asks a user of this server into a room.
    pub(crate) async fn invite(&self, room: &RoomView, user: &UserId, profile: MemberProfile) -> Result<(), CareError> {
        let account = self.account().await?;
        let nid = UserNid::new(account.nid.get());
        Ok(self.rooms.invite(actor(&self.id, nid), &room.id, user, profile, None).await?)
    }

    /// Says something in a room. With the same transaction it is said once.
    pub(crate) async fn send(
        &self,
        room: &RoomId,
        transaction: &str,
        content: Box<RawJsonValue>,
    ) -> Result<OwnedEventId, CareError> {
        let account = self.account().await?;
        // No client of the user has this device: its transactions are those of the server.
        let device = Some(device_id!("access"));
        let actor = Actor { device, ..actor(&self.id, UserNid::new(account.nid.get())) };
        Ok(self.rooms.send(actor, room, "m.room.message", content, Some(transaction.into())).await?)
    }

    /// Held while the user is on its way into a room: nobody takes its invitations for those of others.
    pub(crate) async fn moving(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.moving.lock().await
    }

    /// Whether the user is in a room and has power there.
    pub(crate) async fn is_able(&self, room: &RoomView) -> Result<bool, CareError> {
        let account = self.account().await?;
        let entry = self.rooms.membership(UserNid::new(account.nid.get()), room.nid).await?;
        let joined = entry.is_some_and(|entry| entry.membership == Membership::Join);
        Ok(joined && self.power(room, &self.id).await?.reaches(LEVEL))
    }

    /// Sees that the user is in a room and has power there. Where it is not, a local administrator of the room lets it
    /// in: their server says so.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] where nobody of this server has the power.
    pub(crate) async fn enter(&self, room: &RoomView) -> Result<(), CareError> {
        let account = self.account().await?;
        let nid = UserNid::new(account.nid.get());
        let membership = self.rooms.membership(nid, room.nid).await?.map(|entry| entry.membership);
        let has_power = self.power(room, &self.id).await?.reaches(LEVEL);
        if membership == Some(Membership::Join) && has_power {
            return Ok(());
        }
        let (admin, power) = self.administrator(room).await?;
        let admin = (admin.id.clone(), UserNid::new(admin.nid.get()));
        let admin = actor(&admin.0, admin.1);
        if membership != Some(Membership::Join) {
            let _moving = self.moving().await;
            let profile = self.profile();
            if membership != Some(Membership::Invite) && !room.public {
                self.rooms.invite(admin, &room.id, &self.id, profile.clone(), None).await?;
            }
            self.rooms.join(actor(&self.id, nid), &room.id, profile, None).await?;
        }
        if has_power {
            return Ok(());
        }
        let level = match power {
            UserPower::Int(level) => level.min(LEVEL),
            UserPower::Infinite => LEVEL,
        };
        let levels = self.levels_with(room, level).await?;
        let levels = to_raw_value(&levels).map_err(|error| RoomError::BadContent(error.to_string()))?;
        self.rooms.set_state(admin, &room.id, &StateEventType::RoomPowerLevels, "", levels).await?;
        Ok(())
    }

    /// How the user is shown in rooms.
    pub(crate) fn profile(&self) -> MemberProfile {
        MemberProfile { displayname: Some(self.display_name.clone()), avatar_url: None }
    }

    /// The room's power levels with this user's in them.
    async fn levels_with(&self, room: &RoomView, level: i64) -> Result<Map<String, Value>, CareError> {
        let levels = self.rooms.state_event(room.nid, room.state, &StateEventType::RoomPowerLevels, "").await?;
        let content = levels.and_then(|levels| levels.pdu.content_as::<Map<String, Value>>().ok());
        let mut content = content.unwrap_or_default();
        let users = content.entry("users").or_insert_with(|| Map::new().into());
        if let Some(users) = users.as_object_mut() {
            users.insert(self.id.to_string(), level.into());
        }
        // The policy is not for moderators to change.
        let events = content.entry("events").or_insert_with(|| Map::new().into());
        if let Some(events) = events.as_object_mut() {
            let now = events.get(ACCESS_POLICY).and_then(Value::as_i64);
            events.insert(ACCESS_POLICY.to_owned(), now.unwrap_or(level).max(level).into());
        }
        Ok(content)
    }

    async fn power(&self, room: &RoomView, user: &UserId) -> Result<UserPower, CareError> {
        let levels = self.rooms.state_event(room.nid, room.state, &StateEventType::RoomPowerLevels, "").await?;
        let create = self.rooms.events(room.nid, &[room.create]).await?.pop().ok_or(CareError::NoSuchRoom)?;
        Ok(PowerLevels::new(levels.as_ref().map(|levels| &*levels.pdu), &create.pdu).of(user))
    }

    /// A member of this server with the most power, where that is enough to let others in and to give them power.
    async fn administrator(&self, room: &RoomView) -> Result<(User, UserPower), CareError> {
        let levels = self.rooms.state_event(room.nid, room.state, &StateEventType::RoomPowerLevels, "").await?;
        let create = self.rooms.events(room.nid, &[room.create]).await?.pop().ok_or(CareError::NoSuchRoom)?;
        let power = PowerLevels::new(levels.as_ref().map(|levels| &*levels.pdu), &create.pdu);
        let named = levels.as_ref().and_then(|levels| levels.pdu.content_as::<Map<String, Value>>().ok());
        let named = named.and_then(|content| content.get("users")?.as_object().cloned()).unwrap_or_default();
        let mut candidates: Vec<OwnedUserId> =
            named.keys().filter_map(|user| OwnedUserId::try_from(user.as_str()).ok()).collect();
        candidates.push(create.pdu.sender().to_owned());
        candidates.retain(|user| user.server_name() == self.id.server_name() && *user != self.id);
        candidates.sort_by_key(|user| std::cmp::Reverse(power.of(user)));
        let needed = power.required(wardroom_event::Action::SetState(&"m.room.power_levels".into()));
        for user in candidates.iter().filter(|user| power.of(user).reaches(needed)) {
            let Some(account) = self.accounts.user(user).await?.filter(|account| !account.deactivated) else {
                continue;
            };
            let entry = self.rooms.membership(UserNid::new(account.nid.get()), room.nid).await?;
            if entry.is_some_and(|entry| entry.membership == Membership::Join) {
                return Ok((account, power.of(user)));
            }
        }
        let sentence = "Nobody of this server has the power in this room to let the server's own user in.";
        Err(RoomError::Forbidden(sentence.to_owned()).into())
    }
}
