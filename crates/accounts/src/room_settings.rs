//! What users set for a room that another one replaces: section "Room Upgrades".

use ruma::{
    RoomId, UserId,
    push::{NewConditionalPushRule, NewPushRule, NewSimplePushRule, PushCondition, RuleKind},
};
use serde_json::{Map, Value};

use crate::{AccountError, Accounts, DataScope, UserNid};

/// A room by number and id.
type Room<'a> = (u64, &'a RoomId);

impl Accounts {
    /// Gives a user the tags of the old room in the new one, and push rules like those for the old room; where the old
    /// room is a direct chat, the new one is one too. What the user has set for the new room already stays. Doing it
    /// twice does no harm.
    ///
    /// # Errors
    /// [`AccountError::Limit`] where the user has no room for more, or the store's.
    pub async fn carry_room_settings(&self, user: &UserId, old: Room<'_>, new: Room<'_>) -> Result<(), AccountError> {
        let Some(nid) = self.user_nid(user).await? else { return Ok(()) };
        self.carry_tags(nid, old, new).await?;
        self.carry_direct(nid, old.1, new.1).await?;
        self.carry_push_rules(user, nid, old.1, new.1).await
    }

    async fn carry_tags(&self, user: UserNid, old: Room<'_>, new: Room<'_>) -> Result<(), AccountError> {
        let (from, to) = (DataScope::Room(old.0), DataScope::Room(new.0));
        let Some(tags) = self.account_data(user, from, "m.tag").await? else { return Ok(()) };
        if self.account_data(user, to, "m.tag").await?.is_none() {
            self.set_account_data(user, to, "m.tag", &tags).await?;
        }
        Ok(())
    }

    /// `m.direct` names, for each user, the rooms that are direct chats with them.
    async fn carry_direct(&self, user: UserNid, old: &RoomId, new: &RoomId) -> Result<(), AccountError> {
        self.change_account_data(user, DataScope::Global, "m.direct", |content| {
            let Some(Ok(mut people)) = content.map(serde_json::from_str::<Map<String, Value>>) else { return Ok(None) };
            let mut changed = false;
            for rooms in people.values_mut().filter_map(Value::as_array_mut) {
                if rooms.iter().any(|room| room == old.as_str()) && !rooms.iter().any(|room| room == new.as_str()) {
                    rooms.push(new.as_str().into());
                    changed = true;
                }
            }
            Ok(changed.then(|| Value::from(people).to_string()))
        })
        .await
        .map(drop)
    }

    async fn carry_push_rules(
        &self,
        user: &UserId,
        nid: UserNid,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), AccountError> {
        let rules = self.push_rules(nid).await?;
        if let Some(rule) = rules.room.iter().find(|rule| rule.rule_id == old)
            && !rules.room.iter().any(|rule| rule.rule_id == new)
        {
            let copy = NewSimplePushRule::new(new.to_owned(), rule.actions.clone());
            self.set_push_rule(user, NewPushRule::Room(copy), None, None).await?;
            if !rule.enabled {
                self.set_push_rule_enabled(user, RuleKind::Room, new.as_str(), false).await?;
            }
        }
        // Clients mute a room by a rule above all others that bears the room's id.
        for rule in rules.override_.iter().filter(|rule| !rule.default && rule.rule_id.contains(old.as_str())) {
            let rule_id = rule.rule_id.replace(old.as_str(), new.as_str());
            if rules.override_.iter().any(|rule| rule.rule_id == rule_id) {
                continue;
            }
            let conditions = rule.conditions.iter().map(|condition| about(condition, old, new)).collect();
            let copy = NewConditionalPushRule::new(rule_id.clone(), conditions, rule.actions.clone());
            self.set_push_rule(user, NewPushRule::Override(copy), None, None).await?;
            if !rule.enabled {
                self.set_push_rule_enabled(user, RuleKind::Override, &rule_id, false).await?;
            }
        }
        Ok(())
    }
}

/// A condition on events of the old room, as one on events of the new room.
fn about(condition: &PushCondition, old: &RoomId, new: &RoomId) -> PushCondition {
    let mut condition = condition.clone();
    if let PushCondition::EventMatch(matched) = &mut condition
        && matched.key == "room_id"
        && matched.pattern == old.as_str()
    {
        new.as_str().clone_into(&mut matched.pattern);
    }
    condition
}
