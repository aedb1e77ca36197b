//! What is seen of a room with a policy besides its members: whether the server's own user can still act there, whether
//! somebody took the policy away, and whether the room was replaced by one without it. None of it is fought over:
//! administrators of the server are told.

use ruma::{RoomId, events::StateEventType};
use serde_json::{Map, Value};
use wardroom_rooms::{RoomNid, RoomView};
use wardroom_store::Batch;

use crate::{
    Care, CareError,
    alarms::AlarmKind,
    gate::policy_of,
    policy::{ACCESS_POLICY, AccessPolicy, LossAction},
    tables::SERVED,
};

impl Care {
    /// Sees that the server's own user is in the room with power, where the policy has something for it to do. It comes
    /// in by itself once; where somebody put it out since, or took its power, that is told.
    pub(crate) async fn see_service_user(&self, room: &RoomView, policy: &AccessPolicy) -> Result<(), CareError> {
        let gives_powers = !policy.power.is_empty() || policy.on_loss.action == LossAction::ReadOnly;
        if policy.on_loss.action != LossAction::Kick && !gives_powers {
            return Ok(());
        }
        let raise = async |sentence: &str| {
            self.0.alarms.raise(AlarmKind::ServiceUserWithoutPower, Some(&room.id), None, sentence).await;
        };
        let served = self.0.store.latest().get(&SERVED, &room.nid).await?.is_some();
        if self.0.service.is_able(room).await? {
            if !served {
                self.note_served(room.nid).await?;
            }
        } else if served {
            raise("somebody put the server's own user out of the room, or took its power away").await;
        } else if let Err(error) = self.serve(room).await {
            raise(&format!("the server's own user has no power in the room: {error}")).await;
        }
        Ok(())
    }

    /// Has the server's own user come into the room and have power there, whatever was before.
    ///
    /// # Errors
    /// [`wardroom_rooms::RoomError::Forbidden`] where nobody of this server has the power to let it in.
    pub(crate) async fn serve(&self, room: &RoomView) -> Result<(), CareError> {
        self.0.service.enter(room).await?;
        self.note_served(room.nid).await
    }

    async fn note_served(&self, room: RoomNid) -> Result<(), CareError> {
        let mut batch = Batch::default();
        batch.put(&SERVED, &room, &());
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// Tells where somebody other than the server took a policy away.
    pub(crate) async fn see_removed_policy(&self, room: RoomNid) -> Result<(), CareError> {
        let view = self.0.rooms.view_of(room).await?;
        if policy_of(&view).is_some() {
            return Ok(());
        }
        let event = self.0.rooms.state_event(room, view.state, &ACCESS_POLICY.into(), "").await?;
        let by_server = event.is_some_and(|event| *event.pdu.sender() == *self.0.service.id());
        if !by_server {
            let sentence = "somebody in the room took its policy away: whoever its join rule lets in may enter";
            self.0.alarms.raise(AlarmKind::PolicyRemoved, Some(&view.id), None, sentence).await;
        }
        Ok(())
    }

    /// Gives the room that replaced this one its policy, where it came without: whoever replaced it may have done so on
    /// a server that does not know policies.
    pub(crate) async fn see_successor(&self, room: &RoomView) -> Result<(), CareError> {
        let content = |kind| async move {
            let event = self.0.rooms.state_event(room.nid, room.state, kind, "").await?;
            Ok::<_, CareError>(event.and_then(|event| event.pdu.content_as::<Map<String, Value>>().ok()))
        };
        let Some(tombstone) = content(&StateEventType::RoomTombstone).await? else { return Ok(()) };
        let named = tombstone.get("replacement_room").and_then(Value::as_str);
        let Some(id) = named.and_then(|id| <&RoomId>::try_from(id).ok()) else { return Ok(()) };
        let Some(successor) = self.0.rooms.view(id).await? else { return Ok(()) };
        if successor.policy.is_some() || !self.replaces(&successor, room).await? {
            return Ok(());
        }
        let Some(policy) = content(&ACCESS_POLICY.into()).await? else { return Ok(()) };
        if let Err(error) = self.send_policy(&successor, &policy.into()).await {
            let sentence = format!("the room was replaced by one without its policy: {error}");
            let kind = AlarmKind::SuccessorWithoutPolicy;
            self.0.alarms.raise(kind, Some(&room.id), None, &sentence).await;
        }
        Ok(())
    }

    /// Whether a room says itself that it replaces another: anybody could point a tombstone at it. One from which
    /// somebody took the policy away stays without.
    async fn replaces(&self, new: &RoomView, old: &RoomView) -> Result<bool, CareError> {
        let create = self.0.rooms.events(new.nid, &[new.create]).await?.pop().ok_or(CareError::NoSuchRoom)?;
        let create: Map<String, Value> = create.pdu.content_as().unwrap_or_default();
        let predecessor = create.get("predecessor").and_then(|room| room.get("room_id")?.as_str());
        let had_one = self.0.rooms.state_event(new.nid, new.state, &ACCESS_POLICY.into(), "").await?.is_some();
        Ok(predecessor == Some(old.id.as_str()) && !had_one)
    }
}
