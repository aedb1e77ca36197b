//! What is done about an emergency in rooms: letting in, telling, putting out. All of it can be done twice.

use ruma::{OwnedUserId, UserId};
use serde_json::{
    json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_rooms::{MemberProfile, Membership, RoomError, RoomView, UserNid};

use super::{BREAK_GLASS, EndedWhy, record::parsed, tables::EmergencyRow, utc};
use crate::{Care, CareError, alarms::AlarmKind, service_user::actor};

/// Whether the same may succeed later.
pub(crate) fn is_passing(error: &CareError) -> bool {
    match error {
        CareError::Rooms(error) => matches!(
            error,
            RoomError::Busy
                | RoomError::DiskFull
                | RoomError::Storage(_)
                | RoomError::PolicyServer(_)
                | RoomError::Lacking
        ),
        CareError::Accounts(_) | CareError::Read(_) | CareError::Commit(_) => true,
        _ => false,
    }
}

fn raw(content: &serde_json::Value) -> Result<Box<RawJsonValue>, CareError> {
    Ok(to_raw_value(content).map_err(|error| RoomError::BadContent(error.to_string()))?)
}

impl Care {
    /// Sees that the user is in the room: the server's own user invites them where they cannot just join.
    pub(super) async fn let_in(&self, room: &RoomView, (nid, user): (UserNid, &UserId)) -> Result<(), CareError> {
        let inner = &*self.0;
        let membership = inner.rooms.membership(nid, room.nid).await?.map(|entry| entry.membership);
        if let Err(error) = inner.service.enter(room).await {
            let sentence = format!("the server's own user cannot let anybody in in an emergency: {error}");
            inner.alarms.raise(AlarmKind::ServiceUserWithoutPower, Some(&room.id), None, &sentence).await;
        }
        if membership == Some(Membership::Join) {
            // Who could only read had no power to send.
            return self.settle_powers(room.nid).await;
        }
        let profile = inner.accounts.profile(user).await?.unwrap_or_default();
        let profile = MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url };
        if !room.public && membership != Some(Membership::Invite) {
            inner.service.invite(room, user, profile.clone()).await?;
        }
        Ok(inner.rooms.join(actor(user, nid), &room.id, profile, None).await?)
    }

    /// Tells the room who came in, by which code and until when. The reason in words and the patient are for the record
    /// alone.
    pub(super) async fn tell_room(&self, id: u64, row: &EmergencyRow, user: &UserId) -> Result<(), CareError> {
        let view = self.0.rooms.view_of(row.room).await?;
        let (code, until) = (&row.reason_code, utc(row.until_ms));
        let body = format!("{user} has emergency access to this room: {code}, until {until}. It will be reviewed.");
        let content = json!({ "msgtype": "m.notice", "body": body, "m.mentions": {} });
        self.0.service.send(&view.id, &format!("emergency {id}"), raw(&content)?).await?;
        self.set_mark(&view, id, row, user).await
    }

    /// The state event about an emergency, as it is now.
    async fn set_mark(&self, view: &RoomView, id: u64, row: &EmergencyRow, user: &UserId) -> Result<(), CareError> {
        let mut content = json!({
            "id": id.to_string(),
            "active": row.end.is_none(),
            "user_id": user,
            "reason_code": row.reason_code,
            "began_ts": row.began_ms,
            "expires_ts": row.until_ms,
        });
        if let Some(end) = &row.end {
            content["ended_ts"] = end.at_ms.into();
            content["ended_why"] = end.why.name().into();
        }
        let key = format!("_{user}");
        self.0.service.set_state_at(view, &BREAK_GLASS.into(), &key, raw(&content)?).await.map(drop)
    }

    /// Tells those whom the policy names.
    pub(super) async fn tell_officers(&self, id: u64, row: &EmergencyRow) -> Result<(), CareError> {
        let (user, room, code) = (&row.user_id, &row.room_id, &row.reason_code);
        let (text, what) = match &row.end {
            None => {
                let until = utc(row.until_ms);
                let text = format!(
                    "Emergency access {id}: {user} has entered {room} ({code}), until {until}. \
                     The reason is in the record, which waits for its review."
                );
                (text, "begun")
            }
            Some(end) => {
                let why = match end.why {
                    EndedWhy::Expired => "its time is over",
                    EndedWhy::EndedByUser => "the user ended it",
                    EndedWhy::EndedByAdmin => "an administrator ended it",
                    EndedWhy::RoleGained => "the user has the role now",
                    EndedWhy::PolicyChanged => "the room's policy changed",
                    EndedWhy::Removed => "the user was put out of the room",
                    EndedWhy::AccountClosed => "the account cannot be used any more",
                    EndedWhy::Failed => "the user could not be let in",
                };
                (format!("Emergency access {id} of {user} to {room} has ended: {why}."), "ended")
            }
        };
        let officers: Vec<OwnedUserId> = row.notify.iter().filter_map(|user| parsed(user)).collect();
        for officer in &officers {
            match self.tell(officer, &format!("emergency {id} {what}"), &text).await {
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => {
                    let sentence = format!("somebody is to hear of emergencies in rooms and cannot be told: {error}");
                    self.0.alarms.raise(AlarmKind::CannotTell, None, Some(officer), &sentence).await;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Undoes an emergency that has ended: whoever was let in leaves, others are judged by the policy; the room and those
    /// whom the policy names are told.
    pub(super) async fn undo(&self, id: u64, row: &EmergencyRow, user: &UserId) -> Result<(), CareError> {
        let Some(end) = &row.end else { return Ok(()) };
        match self.put_out(row, end.why, user).await {
            Err(error) if is_passing(&error) => return Err(error),
            Err(CareError::Rooms(RoomError::NoSuchRoom)) | Ok(()) => {}
            Err(error) => {
                let sentence = format!("somebody could not be put out after an emergency: {error}");
                let room = self.0.rooms.view_of(row.room).await.ok();
                let room = room.as_ref().map(|room| &*room.id);
                self.0.alarms.raise(AlarmKind::CannotRemove, room, Some(user), &sentence).await;
            }
        }
        if end.why != EndedWhy::Failed {
            self.unmark(id, row, user).await?;
        }
        self.tell_officers(id, row).await?;
        self.record_settled(id, row, user).await
    }

    async fn put_out(&self, row: &EmergencyRow, why: EndedWhy, user: &UserId) -> Result<(), CareError> {
        const REASON: &str = "The emergency access has ended.";
        if why == EndedWhy::RoleGained {
            return Ok(());
        }
        if !row.brought_in {
            self.revalidate_one(row.room, user).await?;
            return self.settle_powers(row.room).await;
        }
        let view = self.0.rooms.view_of(row.room).await?;
        let membership = self.0.rooms.membership(row.user, row.room).await?.map(|entry| entry.membership);
        if matches!(membership, Some(Membership::Join | Membership::Invite | Membership::Knock)) {
            self.0.rooms.leave(actor(user, row.user), &view.id, Some(REASON.to_owned())).await?;
        }
        Ok(())
    }

    async fn unmark(&self, id: u64, row: &EmergencyRow, user: &UserId) -> Result<(), CareError> {
        let marked = match self.0.rooms.view_of(row.room).await {
            Ok(view) => self.set_mark(&view, id, row, user).await,
            Err(error) => Err(error.into()),
        };
        match marked {
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                // The room is gone, or the server's own user has no power in it: the record says what there is to say.
                tracing::info!(%error, emergency = id, "a room could not be told that an emergency has ended");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
