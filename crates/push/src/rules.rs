//! What a user's push rules say to an event.
//!
//! [Push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules), over ruma's types. The matching is not
//! ruma's: that builds a regular expression from a user's pattern for every event and recurses once for each word of a
//! message, which is slow, and for some patterns and messages ends the process.

mod glob;

use std::{cell::Cell, ops::RangeBounds as _};

use ruma::{
    RoomId, UInt, UserId,
    power_levels::NotificationPowerLevelsKey,
    push::{Action, AnyPushRuleRef, ConditionalPushRule, PatternedPushRule, PushCondition, Ruleset, ScalarJsonValue},
};
use serde_json::Value;
use wardroom_accounts::OWN_USER_ID;
use wardroom_event::Pdu;

use crate::facts::Facts;

/// Steps of matching patterns that all rules of a user may take over one event, some 20 ms of them; patterns that would
/// take more match nothing. Rules and messages are the users': thousands of patterns may meet a large message.
const STEPS_MAX: usize = 10_000_000;

/// What an event does to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It notifies.
    pub(crate) notify: bool,
    /// It stands out.
    pub(crate) highlight: bool,
}

impl Verdict {
    /// What a rule with these actions does.
    pub(crate) fn of(actions: &[Action]) -> Self {
        Self { notify: actions.iter().any(Action::should_notify), highlight: actions.iter().any(Action::is_highlight) }
    }
}

/// What rules ask for besides the event.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// Whose rules they are; none for any user whom the event does not name.
    pub(crate) user: Option<&'a UserId>,
    /// The room.
    pub(crate) room: &'a RoomId,
    /// Its joined members.
    pub(crate) joined: u64,
    /// The user's display name there, once it was asked for; empty where there is none.
    pub(crate) display_name: Option<String>,
    /// Steps of matching that are left.
    steps: Cell<usize>,
}

impl<'a> Situation<'a> {
    pub(crate) fn new(user: Option<&'a UserId>, room: &'a RoomId, joined: u64) -> Self {
        Self { user, room, joined, display_name: None, steps: Cell::new(STEPS_MAX) }
    }

    /// Whether there is time to look for a pattern in a text.
    fn affords(&self, pattern: &str, text: &str) -> bool {
        let left = self.steps.get().checked_sub(glob::steps(pattern, text));
        self.steps.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// A rule asks for what was not found out yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// The user's display name.
    DisplayName,
    /// Whether the sender may notify everybody.
    SenderPower,
}

/// The actions of the first rule that matches, where one does.
pub(crate) fn actions<'r>(
    rules: &'r Ruleset,
    event: &Facts,
    pdu: &Pdu,
    situation: &Situation<'_>,
) -> Result<Option<&'r [Action]>, Lacks> {
    for rule in rules {
        if rule.enabled() && matches(rule, event, pdu, situation)? {
            return Ok(Some(rule.actions()));
        }
    }
    Ok(None)
}

fn matches(rule: AnyPushRuleRef<'_>, event: &Facts, pdu: &Pdu, situation: &Situation<'_>) -> Result<bool, Lacks> {
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => all_hold(rule, event, situation),
        AnyPushRuleRef::Content(PatternedPushRule { pattern, .. }) => Ok(body_matches(event, situation, pattern)),
        AnyPushRuleRef::Room(rule) => Ok(rule.rule_id == situation.room),
        AnyPushRuleRef::Sender(rule) => Ok(rule.rule_id == pdu.sender()),
        _ => Ok(false),
    }
}

fn all_hold(rule: &ConditionalPushRule, event: &Facts, situation: &Situation<'_>) -> Result<bool, Lacks> {
    for condition in &rule.conditions {
        if !holds(condition, event, situation)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(condition: &PushCondition, event: &Facts, situation: &Situation<'_>) -> Result<bool, Lacks> {
    Ok(match condition {
        PushCondition::EventMatch(wanted) => match wanted.key.as_str() {
            "content.body" => body_matches(event, situation, &wanted.pattern),
            "room_id" => text_matches(situation, &wanted.pattern, situation.room.as_str()),
            // A rule that every user has for themselves: the id in it is the user's.
            key if wanted.pattern == OWN_USER_ID => {
                let text = event.property(key).and_then(Value::as_str);
                text.is_some_and(|text| situation.user.is_some_and(|user| user.as_str().eq_ignore_ascii_case(text)))
            }
            key => {
                let text = event.property(key).and_then(Value::as_str);
                text.is_some_and(|text| text_matches(situation, &wanted.pattern, text))
            }
        },
        #[expect(deprecated, reason = "no longer among the predefined rules, and still a condition")]
        PushCondition::ContainsDisplayName => match (&event.body, &situation.display_name) {
            (None, _) => false,
            (Some(_), None) => return Err(Lacks::DisplayName),
            (Some(body), Some(name)) => situation.affords("", body) && glob::has_words(&name.to_lowercase(), body),
        },
        PushCondition::RoomMemberCount(wanted) => {
            UInt::try_from(situation.joined).is_ok_and(|joined| wanted.is.contains(&joined))
        }
        PushCondition::SenderNotificationPermission(wanted) => match wanted.key {
            NotificationPowerLevelsKey::Room => event.sender_may_notify().ok_or(Lacks::SenderPower)?,
            _ => false,
        },
        PushCondition::EventPropertyIs(wanted) => {
            event.property(&wanted.key).is_some_and(|value| is_scalar(value, &wanted.value, situation))
        }
        PushCondition::EventPropertyContains(wanted) => {
            let values = event.property(&wanted.key).and_then(Value::as_array);
            values.is_some_and(|values| values.iter().any(|value| is_scalar(value, &wanted.value, situation)))
        }
        _ => false,
    })
}

/// Whether the body has words that match, in whatever case.
fn body_matches(event: &Facts, situation: &Situation<'_>, pattern: &str) -> bool {
    let Some(body) = &event.body else { return false };
    situation.affords(pattern, body) && glob::matches_words(&pattern.to_lowercase(), body)
}

/// Whether the whole text matches, in whatever case.
fn text_matches(situation: &Situation<'_>, pattern: &str, text: &str) -> bool {
    // Most patterns are plain names of types: those cost no copies.
    if pattern.is_ascii() && text.is_ascii() && !pattern.contains(['*', '?']) {
        return pattern.eq_ignore_ascii_case(text);
    }
    situation.affords(pattern, text) && glob::matches(&pattern.to_lowercase(), &text.to_lowercase())
}

fn is_scalar(value: &Value, wanted: &ScalarJsonValue, situation: &Situation<'_>) -> bool {
    match (value, wanted) {
        (Value::String(value), ScalarJsonValue::String(wanted)) if wanted == OWN_USER_ID => {
            situation.user.is_some_and(|user| user == value)
        }
        (Value::Null, ScalarJsonValue::Null) => true,
        (Value::Bool(value), ScalarJsonValue::Bool(wanted)) => value == wanted,
        (Value::Number(value), ScalarJsonValue::Integer(wanted)) => value.as_i64() == Some(i64::from(*wanted)),
        (Value::String(value), ScalarJsonValue::String(wanted)) => value == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ruma::{
        push::{Action, NewPatternedPushRule, NewPushRule, Ruleset},
        room_id, user_id,
    };
    use serde_json::json;
    use wardroom_event::{Draft, Pdu, RoomVersion, SigningKey};

    use super::{Facts, Situation, Verdict, actions};

    fn message(body: &str) -> Pdu {
        let version = RoomVersion::ALL.last().copied().unwrap();
        let draft = Draft {
            room_id: Some(room_id!("!room:a.example").to_owned()),
            sender: user_id!("@alice:a.example").to_owned(),
            kind: "m.room.message".into(),
            state_key: None,
            content: serde_json::value::to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap(),
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: 1,
        };
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        draft.sign(version, ruma::server_name!("a.example"), &key).unwrap()
    }

    fn judge(rules: &Ruleset, body: &str, joined: u64) -> Verdict {
        let pdu = message(body);
        let room = room_id!("!room:a.example");
        let (facts, bob) = (Facts::new(&pdu, None), user_id!("@bob:a.example"));
        let done = actions(rules, &facts, &pdu, &Situation::new(Some(bob), room, joined)).unwrap();
        done.map(Verdict::of).unwrap_or_default()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let mut rules = Ruleset::server_default(user_id!("@bob:a.example"));
        assert_eq!(judge(&rules, "hi", 2), Verdict { notify: true, highlight: false });
        let silent = NewPatternedPushRule::new("beep".to_owned(), "b??p".to_owned(), vec![]);
        rules.insert(NewPushRule::Content(silent), None, None).unwrap();
        assert_eq!(judge(&rules, "BEEP!", 3), Verdict::default());
        assert_eq!(judge(&rules, "beeping", 3), Verdict { notify: true, highlight: false });
    }

    #[test]
    fn rules_cannot_take_for_ever() {
        let mut rules = Ruleset::new();
        for number in 0..3_000 {
            let pattern = format!("*{}{number}", "a?".repeat(100));
            let rule = NewPatternedPushRule::new(format!("rule{number}"), pattern, vec![Action::Notify]);
            rules.insert(NewPushRule::Content(rule), None, None).unwrap();
        }
        assert_eq!(judge(&rules, &"a".repeat(50_000), 3), Verdict::default());
    }
}
