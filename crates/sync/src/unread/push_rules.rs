//! What a user's push rules say to an event.
//!
//! [Push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules), over ruma's types. The matching is not
//! ruma's: that builds a regular expression from a user's pattern for every event and recurses once for each word of a
//! message, which is slow, and for some patterns and messages ends the process.

use std::ops::RangeBounds as _;

use ruma::{
    RoomId, UInt,
    power_levels::NotificationPowerLevelsKey,
    push::{AnyPushRuleRef, ConditionalPushRule, PatternedPushRule, PushCondition, Ruleset, ScalarJsonValue},
};
use serde_json::Value;
use wardroom_event::Pdu;

use super::{facts::Facts, glob};

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
        AnyPushRuleRef::Content(PatternedPushRule { pattern, .. }) => Ok(body_matches(event, pattern)),
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
            "content.body" => body_matches(event, &wanted.pattern),
            "room_id" => text_matches(&wanted.pattern, situation.room.as_str()),
            key => event.property(key).and_then(Value::as_str).is_some_and(|text| text_matches(&wanted.pattern, text)),
        },
        #[expect(deprecated, reason = "no longer among the predefined rules, and still a condition")]
        PushCondition::ContainsDisplayName => match (&event.body, &situation.display_name) {
            (None, _) => false,
            (Some(_), None) => return Err(Lacks::DisplayName),
            (Some(body), Some(name)) => glob::has_words(&name.to_lowercase(), body),
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
fn body_matches(event: &Facts, pattern: &str) -> bool {
    event.body.as_ref().is_some_and(|body| glob::matches_words(&pattern.to_lowercase(), body))
}

/// Whether the whole text matches, in whatever case.
fn text_matches(pattern: &str, text: &str) -> bool {
    // Most patterns are plain names of types: those cost no copies.
    if pattern.is_ascii() && text.is_ascii() && !pattern.contains(['*', '?']) {
        return pattern.eq_ignore_ascii_case(text);
    }
    glob::matches(&pattern.to_lowercase(), &text.to_lowercase())
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
