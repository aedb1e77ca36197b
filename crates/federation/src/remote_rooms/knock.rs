//! Knocking on rooms of other servers (specification, server-server API, "Knocking upon a room").

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedServerName,
    api::federation::membership::{
        RawStrippedState, create_knock_event::v1 as send_knock, prepare_knock_event::v1 as make_knock,
    },
};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_rooms::RoomError;

use super::{
    Inner, Passage, RemoteError, RemoteRooms,
    join::raw,
    spoken, telling,
    template::{self, Signer, Wanted},
    version_of,
};

/// Time for the whole knock, over all servers.
const KNOCK_TIME_MAX: Duration = Duration::from_secs(120);
/// Events of the room that a knocking user is told.
const STRIPPED_EVENTS_MAX: usize = 50;

impl RemoteRooms {
    /// Asks to be let into a room: here, where this server is in it, or through another server.
    ///
    /// # Errors
    /// As [`RemoteError`] says; those of [`wardroom_rooms::Rooms::knock`] where the room is here.
    pub async fn knock(&self, passage: Passage<'_>) -> Result<(), RemoteError> {
        let inner = &self.inner;
        if inner.is_resident(passage.room).await? {
            return inner.knock_locally(&passage).await;
        }
        let _turn = inner.entering.take(passage.room).await;
        if inner.is_resident(passage.room).await? {
            return inner.knock_locally(&passage).await;
        }
        let knocked = tokio::time::timeout(KNOCK_TIME_MAX, inner.knock_elsewhere(&passage)).await;
        knocked.unwrap_or(Err(RemoteError::Timeout))
    }
}

impl Inner {
    async fn knock_locally(&self, passage: &Passage<'_>) -> Result<(), RemoteError> {
        let Passage { actor, room, profile, reason, .. } = passage;
        Ok(self.rooms.knock(*actor, room, profile.clone(), reason.clone()).await?)
    }

    async fn knock_elsewhere(&self, passage: &Passage<'_>) -> Result<(), RemoteError> {
        let told = self.told(passage).await?;
        let servers = self.candidates(passage, &told).await?;
        if servers.is_empty() {
            return match self.knock_locally(passage).await {
                Err(RemoteError::Room(RoomError::NoSuchRoom | RoomError::NotFound(_))) => Err(RemoteError::NoServer),
                knocked => knocked,
            };
        }
        let mut failure = None;
        for server in &servers {
            match self.knock_through(server, passage).await {
                Ok(()) => return Ok(()),
                Err(error) => failure = Some(telling(failure, error)),
            }
        }
        Err(failure.unwrap_or(RemoteError::NoServer))
    }

    async fn knock_through(&self, server: &OwnedServerName, passage: &Passage<'_>) -> Result<(), RemoteError> {
        let _on_the_way = self.passing.note(passage, server);
        let mut request = make_knock::Request::new(passage.room.to_owned(), passage.actor.user.to_owned());
        request.ver = spoken();
        let answer = self.ask(server, request).await?;
        let wanted = Wanted {
            room: passage.room,
            user: passage.actor.user,
            membership: "knock",
            version: version_of(Some(answer.room_version))?,
            profile: &passage.profile,
            reason: passage.reason.as_deref(),
            now_ms: self.clock.now_ms(),
        };
        let signer = Signer { server: &self.server_name, key: &self.key };
        let knock = Arc::new(template::sign(&answer.event, &wanted, signer)?);
        let request = send_knock::Request::new(knock.room_id().to_owned(), knock.event_id().to_owned(), raw(&knock)?);
        let answer = self.ask(server, request).await?;
        let stripped = answer
            .knock_room_state
            .into_iter()
            .take(STRIPPED_EVENTS_MAX)
            .filter_map(|state| stripped(&state))
            .collect();
        Ok(self.rooms.note_membership(passage.room, knock, stripped).await?)
    }
}

/// State as clients are told it, of a whole event or of one that is stripped already.
fn stripped(state: &RawStrippedState) -> Option<Box<RawJsonValue>> {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Stripped<'a> {
        #[serde(borrow)]
        content: &'a RawJsonValue,
        sender: ruma::OwnedUserId,
        state_key: String,
        #[serde(rename = "type")]
        kind: String,
    }
    let json = serde_json::value::to_raw_value(state).ok()?;
    let fields: Stripped<'_> = serde_json::from_str(json.get()).ok()?;
    serde_json::value::to_raw_value(&fields).ok()
}
