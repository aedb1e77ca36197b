//! Reading a policy, with the field named where it is at fault.

use std::collections::BTreeMap;

use ruma::{OwnedServerName, OwnedUserId};
use serde_json::Value;

use super::{AccessPolicy, BreakGlass, InviteRule, LossAction, OnLoss, PowerRule, Required};
use crate::role::Requirement;

/// Alternatives of one requirement.
const ANY_OF_MAX: usize = 64;
/// Parts of one alternative.
const ALL_OF_MAX: usize = 16;
/// Servers that may vouch, and roles for which one may.
const AUTHORITIES_MAX: usize = 64;
/// Rules for power levels.
const POWER_RULES_MAX: usize = 64;
/// The highest power level that a role can give; what is above stays with the room's own administrators.
const LEVEL_MAX: i64 = 100;
/// Codes of reasons.
const REASONS_MAX: usize = 32;
/// Longest such code, in bytes.
const REASON_BYTES_MAX: usize = 64;
/// Users who are told.
const NOTIFY_MAX: usize = 16;
/// The longest time between a loss and what follows, 30 days.
const GRACE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How long an emergency lasts where the policy does not say, 4 hours, and at most, 24 hours.
const TTL_MS_DEFAULT: u64 = 4 * 60 * 60 * 1_000;
const TTL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Fewest characters of a reason where the policy does not say, and the most that it can ask for.
const MIN_TEXT_DEFAULT: u64 = 10;
const MIN_TEXT_MAX: u64 = 500;

/// A value of the policy, with its name for sentences.
struct Field<'a> {
    name: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    fn wrong<T>(&self, sentence: &str) -> Result<T, String> {
        Err(format!("{}: {sentence}", self.name))
    }

    /// A field of an object; none where it is absent.
    fn get(&self, key: &str) -> Result<Option<Field<'a>>, String> {
        let Some(object) = self.value.as_object() else { return self.wrong("must be an object") };
        let name = if self.name == "content" { key.to_owned() } else { format!("{}.{key}", self.name) };
        Ok(object.get(key).map(|value| Field { name, value }))
    }

    fn need(&self, key: &str) -> Result<Field<'a>, String> {
        self.get(key)?.ok_or_else(|| match self.name.as_str() {
            "content" => format!("{key}: is missing"),
            name => format!("{name}.{key}: is missing"),
        })
    }

    fn text(&self) -> Result<&'a str, String> {
        self.value.as_str().map_or_else(|| self.wrong("must be a string"), Ok)
    }

    fn flag(&self) -> Result<bool, String> {
        self.value.as_bool().map_or_else(|| self.wrong("must be true or false"), Ok)
    }

    fn number(&self, max: u64) -> Result<u64, String> {
        match self.value.as_u64() {
            Some(number) if number <= max => Ok(number),
            _ => self.wrong(&format!("must be a whole number from 0 to {max}")),
        }
    }

    /// The elements of an array, of which there must be at least and at most so many.
    fn list(&self, min: usize, max: usize) -> Result<Vec<Field<'a>>, String> {
        let Some(list) = self.value.as_array() else { return self.wrong("must be an array") };
        if !(min..=max).contains(&list.len()) {
            return self.wrong(&format!("must have from {min} to {max} entries"));
        }
        let field = |(index, value)| Field { name: format!("{}[{index}]", self.name), value };
        Ok(list.iter().enumerate().map(field).collect())
    }

    fn requirement(&self) -> Result<Requirement, String> {
        Requirement::parse(self.text()?).or_else(|error| self.wrong(&error.to_string()))
    }

    fn required(&self) -> Result<Required, String> {
        let mut any_of = Vec::new();
        for alternative in self.need("any_of")?.list(1, ANY_OF_MAX)? {
            let all_of = alternative.need("all_of")?.list(1, ALL_OF_MAX)?;
            any_of.push(all_of.iter().map(Field::requirement).collect::<Result<_, _>>()?);
        }
        Ok(Required(any_of))
    }
}

impl AccessPolicy {
    /// Reads the content of a policy event. What it does not know it passes over.
    ///
    /// # Errors
    /// A sentence that names the field at fault.
    pub fn read(content: &Value) -> Result<Self, String> {
        let content = Field { name: "content".to_owned(), value: content };
        let version = content.need("version")?;
        if version.value.as_u64() != Some(1) {
            return version.wrong("this server knows version 1 only");
        }
        Ok(Self {
            require: content.need("require")?.required()?,
            authorities: content
                .get("authorities")?
                .map_or_else(|| Ok(BTreeMap::new()), |field| authorities(&field))?,
            invite: content.get("invite")?.map_or_else(|| Ok(InviteRule::default()), |field| invite(&field))?,
            on_loss: content.get("on_loss")?.map_or_else(|| Ok(OnLoss::default()), |field| on_loss(&field))?,
            power: content.get("power")?.map_or_else(|| Ok(Vec::new()), |field| power(&field))?,
            elsewhere: false,
            read_check: content.get("read_check")?.map_or(Ok(true), |field| field.flag())?,
            public_receipts: content.get("receipts")?.map_or(Ok(false), |field| public_receipts(&field))?,
            break_glass: content.get("break_glass")?.map_or(Ok(None), |field| break_glass(&field))?,
        })
    }
}

fn public_receipts(field: &Field<'_>) -> Result<bool, String> {
    match field.text()? {
        "public" => Ok(true),
        "any" => Ok(false),
        _ => field.wrong("must be public or any"),
    }
}

impl Default for OnLoss {
    fn default() -> Self {
        Self { action: LossAction::Kick, grace_ms: 0 }
    }
}

fn authorities(field: &Field<'_>) -> Result<BTreeMap<OwnedServerName, Vec<Requirement>>, String> {
    let Some(servers) = field.value.as_object() else { return field.wrong("must be an object") };
    if servers.len() > AUTHORITIES_MAX {
        return field.wrong(&format!("must have at most {AUTHORITIES_MAX} servers"));
    }
    let mut read = BTreeMap::new();
    for (server, roles) in servers {
        let roles = Field { name: format!("{}.{server}", field.name), value: roles };
        let server = OwnedServerName::try_from(server.as_str());
        let server = server.or_else(|_| roles.wrong("is no server name"))?;
        let roles = roles.list(0, AUTHORITIES_MAX)?;
        read.insert(server, roles.iter().map(Field::requirement).collect::<Result<_, _>>()?);
    }
    Ok(read)
}

fn invite(field: &Field<'_>) -> Result<InviteRule, String> {
    match field.text()? {
        "role_required" => Ok(InviteRule::RoleRequired),
        "role_or_invite" => Ok(InviteRule::RoleOrInvite),
        _ => field.wrong("must be role_required or role_or_invite"),
    }
}

fn on_loss(field: &Field<'_>) -> Result<OnLoss, String> {
    let action = match field.get("action")? {
        None => LossAction::default(),
        Some(action) => match action.text()? {
            "kick" => LossAction::Kick,
            "readonly" => LossAction::ReadOnly,
            "notify" => LossAction::Notify,
            _ => return action.wrong("must be kick, readonly or notify"),
        },
    };
    let grace_ms = field.get("grace_ms")?.map_or(Ok(0), |grace| grace.number(GRACE_MS_MAX))?;
    Ok(OnLoss { action, grace_ms })
}

fn power(field: &Field<'_>) -> Result<Vec<PowerRule>, String> {
    let rule = |rule: &Field<'_>| {
        let level = rule.need("level")?;
        match level.value.as_i64() {
            Some(number) if (-LEVEL_MAX..=LEVEL_MAX).contains(&number) => {
                Ok(PowerRule { holder_of: rule.need("if")?.requirement()?, level: number })
            }
            _ => level.wrong(&format!("must be a whole number from -{LEVEL_MAX} to {LEVEL_MAX}")),
        }
    };
    field.list(0, POWER_RULES_MAX)?.iter().map(rule).collect()
}

fn break_glass(field: &Field<'_>) -> Result<Option<BreakGlass>, String> {
    if !field.get("enabled")?.map_or(Ok(false), |enabled| enabled.flag())? {
        return Ok(None);
    }
    let reason = |reason: &Field<'_>| match reason.text()? {
        text if (1..=REASON_BYTES_MAX).contains(&text.len()) => Ok(text.to_owned()),
        _ => reason.wrong(&format!("must have from 1 to {REASON_BYTES_MAX} bytes")),
    };
    let user = |user: &Field<'_>| OwnedUserId::try_from(user.text()?).or_else(|_| user.wrong("is no user id"));
    let min_text = field.get("min_text")?.map_or(Ok(MIN_TEXT_DEFAULT), |text| text.number(MIN_TEXT_MAX))?;
    Ok(Some(BreakGlass {
        who: field.need("who")?.required()?,
        ttl_ms: field.get("ttl_ms")?.map_or(Ok(TTL_MS_DEFAULT), |ttl| ttl.number(TTL_MS_MAX))?,
        reasons: field.need("reasons")?.list(1, REASONS_MAX)?.iter().map(reason).collect::<Result<_, _>>()?,
        min_text: usize::try_from(min_text).unwrap_or(usize::MAX),
        notify: match field.get("notify")? {
            Some(users) => users.list(0, NOTIFY_MAX)?.iter().map(user).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::AccessPolicy;

    /// A policy that uses everything.
    fn whole() -> Value {
        json!({
            "version": 1,
            "require": { "any_of": [{ "all_of": ["physician@h1/cardiology"] }] },
            "authorities": { "h2.example": ["physician@h2/*"] },
            "invite": "role_or_invite",
            "on_loss": { "action": "readonly", "grace_ms": 60_000 },
            "power": [{ "if": "charge-nurse@h1", "level": 50 }],
            "read_check": false,
            "break_glass": {
                "enabled": true, "who": { "any_of": [{ "all_of": ["clinician@h1"] }] }, "ttl_ms": 14_400_000,
                "reasons": ["ETREAT", "BTG"], "min_text": 10, "notify": ["@privacy:h1.example"],
            },
            "org.example.more": true,
        })
    }

    #[test]
    fn a_whole_policy_is_read() {
        let policy = AccessPolicy::read(&whole()).unwrap();
        assert_eq!(policy.on_loss.grace_ms, 60_000);
        assert_eq!(policy.break_glass.unwrap().reasons, ["ETREAT", "BTG"]);
        assert!(policy.authorities.contains_key("h2.example"));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (pointer, wrong, named) in [
            ("/version", json!("1"), "version: "),
            ("/require", json!([]), "require: "),
            ("/require/any_of", json!([]), "require.any_of: "),
            ("/require/any_of/0/all_of", json!([]), "require.any_of[0].all_of: "),
            ("/require/any_of/0/all_of/0", json!("physician"), "require.any_of[0].all_of[0]: "),
            ("/authorities", json!({ "no server": [] }), "authorities.no server: "),
            ("/authorities/h2.example", json!(["x"]), "authorities.h2.example[0]: "),
            ("/invite", json!("never"), "invite: "),
            ("/on_loss/action", json!("shoot"), "on_loss.action: "),
            ("/on_loss/grace_ms", json!(-1), "on_loss.grace_ms: "),
            ("/on_loss/grace_ms", json!(1e30), "on_loss.grace_ms: "),
            ("/power/0/level", json!(101), "power[0].level: "),
            ("/power/0/if", json!(7), "power[0].if: "),
            ("/read_check", json!("yes"), "read_check: "),
            ("/break_glass/who", json!(null), "break_glass.who: "),
            ("/break_glass/ttl_ms", json!(u64::MAX), "break_glass.ttl_ms: "),
            ("/break_glass/reasons", json!([]), "break_glass.reasons: "),
            ("/break_glass/notify/0", json!("alice"), "break_glass.notify[0]: "),
        ] {
            let mut content = whole();
            *content.pointer_mut(pointer).unwrap() = wrong;
            let sentence = AccessPolicy::read(&content).unwrap_err();
            assert!(sentence.starts_with(named), "{pointer}: {sentence}");
        }
        assert!(AccessPolicy::read(&json!({ "version": 1 })).unwrap_err().starts_with("require: is missing"));
    }
}
