//! The beginning of an emergency: who may, and why.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedRoomId, RoomAliasId, RoomId, RoomOrAliasId, UserId};
use tokio::time::timeout;
use wardroom_accounts::User;
use wardroom_rooms::{EventNid, Membership, RoomView, UserNid};
use wardroom_store::CommitError;

use super::{Emergency, EmergencyReason, EndedWhy, grants::Stage, record::parsed, tables::EmergencyRow, utc};
use crate::{
    Care, CareError,
    gate::policy_of,
    policy::{AccessPolicy, BreakGlass, InviteRule, RoomPolicy},
};

/// Emergencies that one user may begin in an hour.
pub const EMERGENCIES_PER_HOUR_MAX: usize = 10;
/// Longest reason in words, in characters.
pub const REASON_TEXT_CHARS_MAX: usize = 2_000;
/// Longest reference to a patient, in bytes.
pub const PATIENT_REF_BYTES_MAX: usize = 256;

/// How long a new emergency waits for the end of the one before it.
const ENDING_WAIT: Duration = Duration::from_secs(3);
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// The one answer about rooms of which the asker may not know whether they are there.
const NOT_HERE: &str = "There is no such room, or you may not enter it in an emergency.";

impl EmergencyReason {
    /// What can be said before anything is known of the room.
    fn check(&self) -> Result<(), CareError> {
        let invalid = |sentence: String| Err(CareError::Invalid(sentence));
        if self.text.chars().count() > REASON_TEXT_CHARS_MAX {
            return invalid(format!("reason_text: must have at most {REASON_TEXT_CHARS_MAX} characters."));
        }
        if self.patient_ref.as_ref().is_some_and(|patient| patient.len() > PATIENT_REF_BYTES_MAX) {
            return invalid(format!("patient_ref: must have at most {PATIENT_REF_BYTES_MAX} bytes."));
        }
        Ok(())
    }

    fn check_by(&self, rules: &BreakGlass) -> Result<(), CareError> {
        if !rules.reasons.contains(&self.code) {
            let codes = rules.reasons.join(", ");
            return Err(CareError::Invalid(format!("reason_code: must be one of {codes}.")));
        }
        if self.text.trim().chars().count() < rules.min_text {
            let min = rules.min_text;
            return Err(CareError::Invalid(format!("reason_text: must have at least {min} characters.")));
        }
        Ok(())
    }
}

/// A room into which somebody may come in an emergency.
struct Door {
    view: Arc<RoomView>,
    policy: Box<AccessPolicy>,
    rules: BreakGlass,
}

impl Care {
    /// Lets a user of this server into a room in an emergency. `command` is the message by which they asked for it, where
    /// there was one: the same message asks once only.
    ///
    /// # Errors
    /// [`CareError::Refused`] where they may not, with the same sentence for rooms that are not there;
    /// [`CareError::Invalid`] names what is wrong with the reason; [`CareError::Conflict`] where they may be in the room
    /// already; [`CareError::TooOften`]; those of rooms where they cannot be let in.
    pub async fn begin_emergency(
        &self,
        user: &UserId,
        room: &RoomOrAliasId,
        reason: EmergencyReason,
        command: Option<EventNid>,
    ) -> Result<Emergency, CareError> {
        reason.check()?;
        let account = self.acting_account(user).await?;
        let nid = UserNid::new(account.nid.get());
        let door = self.door(user, room).await?;
        // Who is still on the way out of the room is not sent away: what takes longer is answered as a conflict.
        timeout(ENDING_WAIT, self.0.judge.grants().settled(door.view.nid, user)).await.ok();
        let alone = self.0.beginning.lock().await;
        if let Some(before) = self.begun_by(nid, command).await? {
            return Ok(before);
        }
        let membership = self.check_outside(&door, (nid, user)).await?;
        reason.check_by(&door.rules)?;
        self.check_rate(nid).await?;
        let row = self.new_record((nid, user), &door, reason, command, membership != Some(Membership::Join));
        let (id, working) = match self.record_begin(user, &row).await {
            Err(CareError::Commit(CommitError::Conflict { .. })) => return Err(wardroom_rooms::RoomError::Busy.into()),
            begun => begun?,
        };
        drop(alone);
        if let Err(error) = self.let_in(&door.view, (nid, user)).await {
            self.record_end(id, EndedWhy::Failed, None).await?;
            return Err(error);
        }
        self.record_entered(id, false).await?;
        // Where this fails it is done again by those who look after what goes on.
        if let Err(error) = self.tell_room(id, &row, user).await {
            tracing::warn!(%error, emergency = id, "the room could not be told of an emergency yet");
        }
        drop(working);
        Ok(Emergency::of(id, row))
    }

    /// What goes on of a user in a room.
    ///
    /// # Errors
    /// [`CareError::NoSuchEmergency`] where nothing does.
    pub async fn own_emergency(&self, user: &UserId, room: &RoomOrAliasId) -> Result<Emergency, CareError> {
        let room = self.local_room(room).await?.ok_or(CareError::NoSuchEmergency)?;
        let nid = self.0.rooms.room_nid(&room).await?.ok_or(CareError::NoSuchEmergency)?;
        let grant = self.0.judge.grants().get(nid, user).filter(|grant| grant.stage != Stage::Ended);
        let grant = grant.ok_or(CareError::NoSuchEmergency)?;
        let row = self.record(grant.id).await?.ok_or(CareError::NoSuchEmergency)?;
        Ok(Emergency::of(grant.id, row))
    }

    /// Everything that goes on of a user.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn own_emergencies(&self, user: &UserId) -> Result<Vec<Emergency>, CareError> {
        let mut found = Vec::new();
        for id in self.0.judge.grants().of_user(user) {
            let row = self.record(id).await?.filter(|row| row.end.is_none());
            found.extend(row.map(|row| Emergency::of(id, row)));
        }
        Ok(found)
    }

    /// Ends a user's own emergency in a room.
    ///
    /// # Errors
    /// [`CareError::NoSuchEmergency`] where none goes on; when the store fails.
    pub async fn end_own_emergency(&self, user: &UserId, room: &RoomOrAliasId) -> Result<Emergency, CareError> {
        let going_on = self.own_emergency(user, room).await?;
        self.end_emergency(&going_on.id, EndedWhy::EndedByUser, None).await
    }

    /// The room of this server that an id or an alias names.
    async fn local_room(&self, room: &RoomOrAliasId) -> Result<Option<OwnedRoomId>, CareError> {
        match (<&RoomAliasId>::try_from(room), <&RoomId>::try_from(room)) {
            (Ok(alias), _) => Ok(self.0.rooms.resolve_alias(alias).await?),
            (_, Ok(room)) => Ok(Some(room.to_owned())),
            _ => Ok(None),
        }
    }

    /// The account of somebody who may do anything at all.
    pub(crate) async fn acting_account(&self, user: &UserId) -> Result<User, CareError> {
        let refused = |sentence: &str| Err(CareError::Refused(sentence.to_owned()));
        let account = self.0.accounts.user(user).await?.filter(|account| !account.deactivated);
        let Some(account) = account else { return refused("Only users of this server enter rooms in an emergency.") };
        if account.guest {
            return refused("Guests do not enter rooms in an emergency.");
        }
        let moderation = self.0.accounts.moderation(user).await?.unwrap_or_default();
        if moderation.suspended || moderation.locked {
            return refused("Your account is suspended.");
        }
        Ok(account)
    }

    /// The room, where its policy lets this user in in an emergency.
    async fn door(&self, user: &UserId, room: &RoomOrAliasId) -> Result<Door, CareError> {
        let refused = || CareError::Refused(NOT_HERE.to_owned());
        let room = self.local_room(room).await?.ok_or_else(refused)?;
        let view = self.0.rooms.view(&room).await?.ok_or_else(refused)?;
        let Some(RoomPolicy::Known(policy)) = policy_of(&view).cloned() else { return Err(refused()) };
        let rules = self.0.judge.break_glass(user, &policy).cloned().ok_or_else(refused)?;
        Ok(Door { view, policy, rules })
    }

    /// The user's membership, where they need an emergency to be in the room.
    async fn check_outside(
        &self,
        door: &Door,
        (nid, user): (UserNid, &UserId),
    ) -> Result<Option<Membership>, CareError> {
        let conflict = |sentence: String| Err(CareError::Conflict(sentence));
        if let Some(grant) = self.0.judge.grants().get(door.view.nid, user) {
            return conflict(match grant.stage {
                Stage::Ended => "Your emergency access is being ended: try again in a moment.".to_owned(),
                Stage::Begun | Stage::Entered | Stage::Told => {
                    format!("You have emergency access to this room already, until {}.", utc(grant.until_ms))
                }
            });
        }
        if self.0.judge.meets(user, &door.policy) {
            return conflict("You have the role that this room requires: join it as usual.".to_owned());
        }
        let membership = self.0.rooms.membership(nid, door.view.nid).await?.map(|entry| entry.membership);
        if membership == Some(Membership::Ban) {
            return Err(CareError::Refused("You are banned from this room.".to_owned()));
        }
        let by_invitation = door.policy.invite == InviteRule::RoleOrInvite;
        if by_invitation && matches!(membership, Some(Membership::Join | Membership::Invite)) {
            return conflict("You are in this room by invitation, or can accept one.".to_owned());
        }
        Ok(membership)
    }

    /// Nobody begins more than so many emergencies in an hour.
    async fn check_rate(&self, nid: UserNid) -> Result<(), CareError> {
        let newest = self.newest_of(nid, EMERGENCIES_PER_HOUR_MAX).await?;
        let Some((_, oldest)) = newest.last().filter(|_| newest.len() >= EMERGENCIES_PER_HOUR_MAX) else {
            return Ok(());
        };
        match oldest.began_ms.saturating_add(HOUR_MS).checked_sub(self.now_ms()) {
            Some(retry_ms) if retry_ms > 0 => Err(CareError::TooOften { retry_ms }),
            _ => Ok(()),
        }
    }

    /// What came of the same message before.
    async fn begun_by(&self, nid: UserNid, command: Option<EventNid>) -> Result<Option<Emergency>, CareError> {
        if command.is_none() {
            return Ok(None);
        }
        let newest = self.newest_of(nid, EMERGENCIES_PER_HOUR_MAX).await?;
        let same = newest.into_iter().find(|(_, row)| row.command == command);
        Ok(same.map(|(id, row)| Emergency::of(id, row)))
    }

    fn new_record(
        &self,
        (nid, user): (UserNid, &UserId),
        door: &Door,
        reason: EmergencyReason,
        command: Option<EventNid>,
        brought_in: bool,
    ) -> EmergencyRow {
        let now_ms = self.now_ms();
        EmergencyRow {
            room: door.view.nid,
            user: nid,
            room_id: door.view.id.to_string(),
            user_id: user.to_string(),
            reason_code: reason.code,
            reason_text: reason.text.trim().to_owned(),
            patient_ref: reason.patient_ref,
            began_ms: now_ms,
            until_ms: now_ms.saturating_add(door.rules.ttl_ms),
            notify: door.rules.notify.iter().map(ToString::to_string).collect(),
            command,
            brought_in,
            entered: false,
            told: false,
            end: None,
            review: None,
        }
    }

    /// Ends an emergency. One that has ended is answered as it is.
    ///
    /// # Errors
    /// [`CareError::NoSuchEmergency`]; when the store fails.
    pub async fn end_emergency(&self, id: &str, why: EndedWhy, by: Option<&UserId>) -> Result<Emergency, CareError> {
        let id: u64 = id.parse().map_err(|_| CareError::NoSuchEmergency)?;
        self.record_end(id, why, by).await?;
        let row = self.record(id).await?.ok_or(CareError::NoSuchEmergency)?;
        if let Some(user) = parsed(&row.user_id)
            && let Some(_working) = self.0.judge.grants().work_on(row.room, &user, id)
            && let Err(error) = self.undo(id, &row, &user).await
        {
            tracing::warn!(%error, emergency = id, "somebody could not be put out after an emergency yet; trying again");
        }
        Ok(Emergency::of(id, row))
    }
}
