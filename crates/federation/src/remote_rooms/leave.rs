//! Turning down invitations to rooms of other servers, and taking knocks back (specification, server-server API,
//! "Leaving Rooms (Rejecting Invites)").

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedServerName,
    api::federation::membership::{create_leave_event::v2 as send_leave, prepare_leave_event::v1 as make_leave},
    events::TimelineEventType,
};
use serde_json::{json, value::to_raw_value};
use wardroom_event::{Draft, Pdu, RoomVersion};
use wardroom_rooms::{MemberProfile, Membership, RoomError};

use super::{
    Inner, Passage, RemoteError, RemoteRooms,
    join::raw,
    template::{self, Signer, Wanted},
    version_of,
};
use crate::ingest::invites::Told;

/// Time for telling the room's servers. The user leaves in any case.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(40);

impl RemoteRooms {
    /// Leaves a room that this server is not in: turns an invitation down, or takes a knock back. The room's servers are
    /// told where one of them can be reached; the user is out in any case.
    ///
    /// `None` where this server is in the room, or the user neither invited nor knocking: whoever asked leaves it as any
    /// other room.
    pub async fn leave(&self, passage: Passage<'_>) -> Result<Option<()>, RemoteError> {
        let inner = &self.inner;
        if inner.is_resident(passage.room).await? {
            return Ok(None);
        }
        let Some(room) = inner.rooms.room_nid(passage.room).await? else { return Ok(None) };
        let entry = inner.rooms.membership(passage.actor.nid, room).await?;
        let membership = entry.map(|entry| entry.membership);
        if !matches!(membership, Some(Membership::Invite | Membership::Knock)) {
            return Ok(None);
        }
        let told = inner.told(&passage).await?;
        let remotely = tokio::time::timeout(LEAVE_TIME_MAX, inner.leave_elsewhere(&passage, &told)).await;
        let leave = match remotely.unwrap_or(Err(RemoteError::Timeout)) {
            Ok(leave) => leave,
            Err(error) => {
                tracing::info!(%error, "no server of the room could be told that an invitation is turned down");
                inner.leave_alone(&passage, &told)?
            }
        };
        inner.rooms.note_membership(passage.room, Arc::new(leave), Vec::new()).await?;
        Ok(Some(()))
    }
}

impl Inner {
    async fn leave_elsewhere(&self, passage: &Passage<'_>, told: &Told) -> Result<Pdu, RemoteError> {
        // The inviter's server first: others may not know of the invitation.
        let mut servers: Vec<OwnedServerName> =
            told.inviter.iter().map(|inviter| inviter.server_name().to_owned()).collect();
        servers.extend(self.candidates(passage, told).await?);
        let mut failure = RemoteError::NoServer;
        for server in self.admitted(servers)? {
            match self.leave_through(&server, passage).await {
                Ok(leave) => return Ok(leave),
                Err(error) => failure = super::telling(Some(failure), error),
            }
        }
        Err(failure)
    }

    async fn leave_through(&self, server: &OwnedServerName, passage: &Passage<'_>) -> Result<Pdu, RemoteError> {
        let request = make_leave::Request::new(passage.room.to_owned(), passage.actor.user.to_owned());
        let answer = self.ask(server, request).await?;
        let wanted = Wanted {
            room: passage.room,
            user: passage.actor.user,
            membership: "leave",
            version: version_of(answer.room_version)?,
            profile: &MemberProfile::default(),
            reason: passage.reason.as_deref(),
            now_ms: self.clock.now_ms(),
        };
        let signer = Signer { server: &self.server_name, key: &self.key };
        let leave = template::sign(&answer.event, &wanted, signer)?;
        let request = send_leave::Request::new(leave.room_id().to_owned(), leave.event_id().to_owned(), raw(&leave)?);
        self.ask(server, request).await?;
        Ok(leave)
    }

    /// The end of an invitation that nobody else hears of.
    fn leave_alone(&self, passage: &Passage<'_>, told: &Told) -> Result<Pdu, RemoteError> {
        let mut content = json!({ "membership": "leave" });
        if let Some(reason) = &passage.reason {
            content["reason"] = reason.as_str().into();
        }
        let user = passage.actor.user;
        let draft = Draft {
            room_id: Some(passage.room.to_owned()),
            sender: user.to_owned(),
            kind: TimelineEventType::RoomMember,
            state_key: Some(user.as_str().to_owned()),
            content: to_raw_value(&content).map_err(|error| RemoteError::Unmakeable(error.to_string()))?,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: self.clock.now_ms(),
        };
        let version = told.version.unwrap_or(RoomVersion::V11);
        let signed = draft.sign(version, &self.server_name, &self.key);
        signed.map_err(|error| RoomError::BadContent(error.to_string()).into())
    }
}
