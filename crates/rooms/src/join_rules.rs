//! Joins that membership of another room allows (specification, "Restricted rooms").

use ruma::{OwnedRoomId, OwnedUserId, UserId, events::StateEventType};
use serde::Deserialize;
use wardroom_event::{Action, PowerLevels};

use crate::{
    error::RoomError,
    ids::{NS_USER, UserNid},
    tables::Membership,
    writer::Writer,
};

/// Rooms of an `allow` list that are looked at.
const ALLOW_RULES_MAX: usize = 200;
/// Members of the room that are looked at for one who may invite.
const AUTHORISERS_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
struct JoinRules {
    join_rule: String,
    #[serde(default)]
    allow: Vec<AllowRule>,
}

#[derive(Debug, Deserialize)]
struct AllowRule {
    #[serde(rename = "type")]
    kind: String,
    room_id: Option<OwnedRoomId>,
}

impl Writer {
    /// Who of this server authorises the join of somebody whom the room's restricted join rule lets in.
    /// `None` where the rule is another, or where nobody can: the authorization rules then decide without.
    pub(crate) async fn authoriser_of_join(&self, user: &UserId) -> Result<Option<OwnedUserId>, RoomError> {
        let Some(event) = self.state_event(&StateEventType::RoomJoinRules, "").await? else { return Ok(None) };
        let Ok(rules) = event.pdu.content_as::<JoinRules>() else { return Ok(None) };
        let restricted = matches!(rules.join_rule.as_str(), "restricted" | "knock_restricted");
        if !restricted || !self.is_allowed(user, &rules.allow).await? {
            return Ok(None);
        }
        let levels = self.state_event(&StateEventType::RoomPowerLevels, "").await?;
        let create = self.state_event(&StateEventType::RoomCreate, "").await?;
        let (Some(create), levels) = (create, levels.as_ref().map(|stored| &*stored.pdu)) else { return Ok(None) };
        let levels = PowerLevels::new(levels, &create.pdu);
        for member in self.engine.local_members(self.nid(), AUTHORISERS_MAX).await? {
            if levels.of(&member).reaches(levels.required(Action::Invite)) {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    async fn is_allowed(&self, user: &UserId, allow: &[AllowRule]) -> Result<bool, RoomError> {
        let Some(nid) = self.engine.store.interner().lookup(NS_USER, user.as_str()).await? else { return Ok(false) };
        let rooms =
            allow.iter().filter(|rule| rule.kind == "m.room_membership").filter_map(|rule| rule.room_id.as_ref());
        for room in rooms.take(ALLOW_RULES_MAX) {
            let Some(room) = self.engine.room_nid(room).await? else { continue };
            let entry = self.engine.membership(UserNid::new(nid), room).await?;
            if entry.is_some_and(|entry| entry.membership == Membership::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
