//! What a user's push rules say to an event.
//!
//! [Push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules), over ruma's types. The matching is not
//! ruma's: that builds a regular expression from a user's pattern for every event and recurses once for each word of a
//! message, which is slow, and for some patterns and messages ends the process.

use std::{cell::Cell, ops::RangeBounds as _};

use ruma::{
    RoomId, UInt,
    power_levels::NotificationPowerLevelsKey,
    push::{AnyPushRuleRef, ConditionalPushRule, PatternedPushRule, PushCondition, Ruleset, ScalarJsonValue},
};
use serde_json::Value;
use wardroom_event::Pdu;

use super::{facts::Facts, glob};

/// Steps of matching patterns that all rules of a user may take over one event, some 20 ms of them; patterns that would
/// take more match nothing. Rules and messages are the users': thousands of patterns may meet a large message.
const STEPS_MAX: usize = 10_000_000;

/// What an event does to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It notifies.
    pub(super) notify: bool,
    /// It stands out.
    pub(super) highlight: bool,
}

/// What rules ask for besides the event.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    /// The room.
    pub(super) room: &'a RoomId,
    /// Its joined members.
    pub(super) joined: u64,
    /// The user's display name there, once it was asked for; empty where there is none.
    pub(super) display_name: Option<String>,
    /// Steps of matching that are left.
    steps: Cell<usize>,
}

impl<'a> Situation<'a> {
    pub(super) fn new(room: &'a RoomId, joined: u64) -> Self {
        Self { room, joined, display_name: None, steps: Cell::new(STEPS_MAX) }
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
pub(super) enum Lacks {
    /// The user's display name.
    DisplayName,
    /// Whether the sender may notify everybody.
    SenderPower,
}

/// The verdict of the first rule that matches; nothing happens where none does.
pub(super) fn verdict(rules: &Ruleset, event: &Facts, pdu: &Pdu, situation: &Situation<'_>) -> Result<Verdict, Lacks> {
    for rule in rules {
        if rule.enabled() && matches(rule, event, pdu, situation)? {
            return Ok(Verdict { notify: rule.triggers_notification(), highlight: rule.triggers_highlight() });
        }
    }
    Ok(Verdict::default())
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
            event.property(&wanted.key).is_some_and(|value| is_scalar(value, &wanted.value))
        }
        PushCondition::EventPropertyContains(wanted) => {
            let values = event.property(&wanted.key).and_then(Value::as_array);
            values.is_some_and(|values| values.iter().any(|value| is_scalar(value, &wanted.value)))
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

fn is_scalar(value: &Value, wanted: &ScalarJsonValue) -> bool {
    match (value, wanted) {
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

    use super::{Facts, Situation, Verdict, verdict};

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
        verdict(rules, &Facts::new(&pdu, None), &pdu, &Situation::new(room, joined)).unwrap()
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
