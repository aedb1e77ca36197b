//! Who may join a room (specification, `m.room.join_rules`), and joins that membership of another room allows
//! (specification, "Restricted rooms").

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::StateEventType, room::JoinRuleKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use wardroom_event::{Action, Pdu, PowerLevels, RoomVersion};

use crate::{
    Engine,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tables::Membership,
    writer::Writer,
};

/// Rooms of an `allow` list that are looked at.
const ALLOW_RULES_MAX: usize = 200;
/// Members that are looked at for one who may invite, besides those whom the power levels name.
const UNNAMED_AUTHORISERS_MAX: usize = 100;

/// Type of the condition that those meet whom the gate admits ([`Gate::admits_by_role`](crate::Gate::admits_by_role)). The
/// specification leaves room for further types; servers that do not know this one let nobody in by it.
pub const ROLE_CONDITION: &str = "org.wardroom.role";

/// A room's join rule and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinRules {
    pub(crate) kind: JoinRuleKind,
    /// Rooms of the conditions `m.room_membership`, each once.
    pub(crate) allow: Vec<OwnedRoomId>,
    /// Whether [`ROLE_CONDITION`] is among the conditions. All others are conditions that nobody meets.
    pub(crate) by_role: bool,
}

impl JoinRules {
    /// What an `m.room.join_rules` event says. A room without one, or with one that says nothing, is open to the
    /// invited only, as the authorization rules have it.
    pub(crate) fn of(event: Option<&Pdu>) -> Self {
        #[derive(Deserialize)]
        struct Content {
            join_rule: String,
            #[serde(default)]
            allow: Value,
        }
        let content = event.and_then(|event| event.content_as::<Content>().ok());
        let Some(Content { join_rule, allow }) = content else {
            return Self { kind: JoinRuleKind::Invite, allow: Vec::new(), by_role: false };
        };
        let (mut rooms, mut by_role): (Vec<OwnedRoomId>, bool) = (Vec::new(), false);
        // Each condition for itself: one that cannot be read must not close the door that another opens.
        for condition in allow.as_array().into_iter().flatten().take(ALLOW_RULES_MAX) {
            let kind = condition.get("type").and_then(Value::as_str);
            by_role |= kind == Some(ROLE_CONDITION);
            let is_membership = kind == Some("m.room_membership");
            let room = condition.get("room_id").and_then(Value::as_str).filter(|_| is_membership);
            let room = room.and_then(|room| <&RoomId>::try_from(room).ok());
            rooms.extend(room.filter(|room| !rooms.iter().any(|known| known == room)).map(ToOwned::to_owned));
        }
        Self { kind: JoinRuleKind::from(join_rule), allow: rooms, by_role }
    }

    /// Whether anybody may join.
    pub(crate) fn is_public(&self) -> bool {
        self.kind == JoinRuleKind::Public
    }

    /// Whether those who meet a condition may join, in a version that knows such rules.
    pub(crate) fn is_restricted(&self, version: RoomVersion) -> bool {
        let rules = &version.rules().authorization;
        match self.kind {
            JoinRuleKind::Restricted => rules.restricted_join_rule,
            JoinRuleKind::KnockRestricted => rules.knock_restricted_join_rule,
            _ => false,
        }
    }

    /// Whether anybody may ask to be let in, in a version that knows such rules.
    pub(crate) fn is_knockable(&self, version: RoomVersion) -> bool {
        let rules = &version.rules().authorization;
        match self.kind {
            JoinRuleKind::Knock => rules.knocking,
            JoinRuleKind::KnockRestricted => rules.knock_restricted_join_rule,
            _ => false,
        }
    }
}

impl Engine {
    /// Whether a user is joined to one of these rooms.
    pub(crate) async fn is_in_one_of(&self, user: UserNid, rooms: &[OwnedRoomId]) -> Result<bool, RoomError> {
        for room in rooms {
            if let Some(room) = self.room_nid(room).await?
                && self.is_joined(user, room).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a user is joined to a room now.
    pub(crate) async fn is_joined(&self, user: UserNid, room: RoomNid) -> Result<bool, RoomError> {
        Ok(self.membership(user, room).await?.is_some_and(|entry| entry.membership == Membership::Join))
    }
}

impl Writer {
    /// Who of this server authorises a join by somebody who is not invited; `None` where the join rule does not ask
    /// for anybody, and the authorization rules decide alone.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] where the rule has conditions and the user meets none of them,
    /// [`RoomError::CannotAuthorizeJoin`] where nobody of this server may invite.
    pub(crate) async fn authoriser_of_join(&self, user: &UserId) -> Result<Option<OwnedUserId>, RoomError> {
        let rules = self.state_event(&StateEventType::RoomJoinRules, "").await?;
        let rules = JoinRules::of(rules.as_ref().map(|stored| &*stored.pdu));
        if !rules.is_restricted(self.version()) {
            return Ok(None);
        }
        let by_role = rules.by_role && self.engine.gate.admits_by_role(user, &self.view());
        let allowed = match self.engine.user_nid(user).await? {
            _ if by_role => true,
            Some(nid) => self.engine.is_in_one_of(nid, &rules.allow).await?,
            None => false,
        };
        if !allowed {
            let sentence = "You are not invited, and meet none of the conditions under which one may join this room.";
            return Err(RoomError::Forbidden(sentence.to_owned()));
        }
        self.somebody_who_may_invite().await?.map(Some).ok_or(RoomError::CannotAuthorizeJoin)
    }

    /// A member of this server with the power to invite.
    async fn somebody_who_may_invite(&self) -> Result<Option<OwnedUserId>, RoomError> {
        let levels = self.state_event(&StateEventType::RoomPowerLevels, "").await?;
        let create = self.state_event(&StateEventType::RoomCreate, "").await?;
        let create = create.ok_or_else(|| RoomError::inconsistent("room without create event"))?;
        let mut candidates = named_users(&create.pdu, levels.as_ref().map(|stored| &*stored.pdu));
        let levels = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        // Whoever is not named has the default level: a few of those stand for all.
        let members = candidates.len() + UNNAMED_AUTHORISERS_MAX;
        candidates.extend(self.engine.local_members(self.nid(), members).await?);
        for user in candidates {
            if user.server_name() == self.engine.server_name
                && levels.of(&user).reaches(levels.required(Action::Invite))
                && self.membership_of(&user).await?.is_some_and(|record| record.membership == Membership::Join)
            {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}

/// The creators of a room and whom its power levels name.
fn named_users(create: &Pdu, levels: Option<&Pdu>) -> Vec<OwnedUserId> {
    let fields = |pdu: &Pdu| pdu.content_as::<Map<String, Value>>().unwrap_or_default();
    let mut named = vec![create.sender().to_owned()];
    let user = |id: &str| OwnedUserId::try_from(id).ok();
    if let Some(Value::Array(also)) = fields(create).get("additional_creators") {
        named.extend(also.iter().filter_map(Value::as_str).filter_map(user));
    }
    if let Some(Value::Object(users)) = levels.map(fields).unwrap_or_default().get("users") {
        named.extend(users.keys().filter_map(|id| user(id)));
    }
    named
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{RoomId, room::JoinRuleKind, user_id};
    use serde_json::{Value, json, value::to_raw_value};
    use wardroom_event::{Draft, Pdu, RoomVersion, SigningKey};

    use super::JoinRules;

    fn event(content: &Value) -> Pdu {
        let draft = Draft {
            room_id: Some(RoomId::new_v1(ruma::server_name!("a.example"))),
            sender: user_id!("@a:a.example").to_owned(),
            kind: "m.room.join_rules".into(),
            state_key: Some(String::new()),
            content: to_raw_value(content).unwrap(),
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: 1,
        };
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        draft.sign(RoomVersion::V11, ruma::server_name!("a.example"), &key).unwrap()
    }

    #[test]
    fn each_condition_counts_for_itself() {
        let membership = |room: &str| json!({ "type": "m.room_membership", "room_id": room });
        let role = json!({ "type": "org.wardroom.role" });
        for (allow, rooms, by_role) in [
            (json!([membership("!a:b"), membership("!a:b"), membership("none"), role]), 1, true),
            (json!([{ "type": "com.example.weather" }, 7, null, membership("!a:b")]), 1, false),
            (json!([{ "type": "org.wardroom.roles" }, { "type": 5 }, { "room_id": "!a:b" }]), 0, false),
            (role, 0, false),
        ] {
            let rules = JoinRules::of(Some(&event(&json!({ "join_rule": "restricted", "allow": allow }))));
            assert_eq!((rules.allow.len(), rules.by_role), (rooms, by_role), "{allow}");
            assert!(rules.is_restricted(RoomVersion::V11) && !rules.is_restricted(RoomVersion::V6));
        }
        let nothing = JoinRules::of(Some(&event(&json!({ "allow": [] }))));
        assert_eq!((nothing.kind, nothing.by_role), (JoinRuleKind::Invite, false));
    }

    proptest! {
        #[test]
        fn no_list_opens_a_room_that_names_no_condition(kind in "[a-z._]{0,24}", room in "\\PC{0,20}") {
            prop_assume!(kind != "m.room_membership" && kind != super::ROLE_CONDITION);
            let allow = json!([{ "type": kind, "room_id": room }]);
            let rules = JoinRules::of(Some(&event(&json!({ "join_rule": "restricted", "allow": allow }))));
            prop_assert!(rules.allow.is_empty() && !rules.by_role);
        }
    }
}
