//! Membership events that are made from another server's template.

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId, events::TimelineEventType};
use serde::Deserialize;
use serde_json::{
    Map,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::{AUTH_EVENTS_MAX, DEPTH_MAX, Draft, PREV_EVENTS_MAX, Pdu, RoomVersion, SigningKey};
use wardroom_rooms::MemberProfile;

use super::RemoteError;

/// Field of a join that says who lets the user into a restricted room.
const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

/// What the event is to be.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) user: &'a UserId,
    pub(crate) membership: &'static str,
    pub(crate) version: RoomVersion,
    pub(crate) profile: &'a MemberProfile,
    pub(crate) reason: Option<&'a str>,
    pub(crate) now_ms: u64,
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signer<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) key: &'a SigningKey,
}

#[derive(Deserialize)]
struct Template {
    #[serde(rename = "type")]
    kind: String,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    state_key: String,
    content: Content,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    depth: u64,
}

#[derive(Deserialize)]
struct Content {
    membership: String,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

/// Makes a membership event from a template, and signs it. Of the template only what its server alone can know is taken:
/// the place in the graph, the authorization events, and who authorises a join.
///
/// # Errors
/// [`RemoteError::Untrustworthy`] where the template is of another event than the wanted one.
pub(crate) fn sign(template: &RawJsonValue, wanted: &Wanted<'_>, signer: Signer<'_>) -> Result<Pdu, RemoteError> {
    let wrong = RemoteError::Untrustworthy;
    let template: Template =
        serde_json::from_str(template.get()).map_err(|_| wrong("its template has not the fields of an event"))?;
    if template.kind != "m.room.member" || template.content.membership != wanted.membership {
        return Err(wrong("its template is of another event"));
    }
    if template.room_id != wanted.room {
        return Err(wrong("its template is of another room"));
    }
    if template.sender != wanted.user || template.state_key != wanted.user.as_str() {
        return Err(wrong("its template is of another user"));
    }
    if template.prev_events.is_empty() || template.prev_events.len() > PREV_EVENTS_MAX {
        return Err(wrong("its template follows no events, or too many"));
    }
    if template.auth_events.is_empty() || template.auth_events.len() > AUTH_EVENTS_MAX {
        return Err(wrong("its template has no authorization events, or too many"));
    }
    if template.depth > DEPTH_MAX {
        return Err(wrong("its template is too deep"));
    }
    let mut content = Map::new();
    content.insert("membership".to_owned(), wanted.membership.into());
    if wanted.membership == "join" {
        let via = template.content.join_authorised_via_users_server;
        content.extend(via.map(|via| (AUTHORISED_VIA.to_owned(), via.as_str().into())));
    }
    let profile = [("displayname", &wanted.profile.displayname), ("avatar_url", &wanted.profile.avatar_url)];
    for (field, value) in profile {
        content.extend(value.as_ref().map(|value| (field.to_owned(), value.as_str().into())));
    }
    content.extend(wanted.reason.map(|reason| ("reason".to_owned(), reason.into())));
    let draft = Draft {
        room_id: Some(wanted.room.to_owned()),
        sender: wanted.user.to_owned(),
        kind: TimelineEventType::RoomMember,
        state_key: Some(wanted.user.as_str().to_owned()),
        content: to_raw_value(&content).map_err(|error| RemoteError::Unmakeable(error.to_string()))?,
        redacts: None,
        prev_events: template.prev_events,
        auth_events: template.auth_events,
        depth: template.depth,
        origin_server_ts: wanted.now_ms,
    };
    let signed = draft.sign(wanted.version, signer.server, signer.key);
    signed.map_err(|error| RemoteError::Unmakeable(error.to_string()))
}

/// The server that a join says lets the user in, where it says one.
pub(crate) fn authorised_via(join: &Pdu) -> Option<OwnedUserId> {
    join.content_as::<Content>().ok()?.join_authorised_via_users_server
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, server_name, user_id};
    use serde_json::{Value, json, value::to_raw_value};
    use wardroom_event::{RoomVersion, SigningKey};
    use wardroom_rooms::MemberProfile;

    use super::{Signer, Wanted, authorised_via, sign};

    fn template() -> Value {
        json!({
            "type": "m.room.member", "room_id": "!r:b.example", "sender": "@u:a.example", "state_key": "@u:a.example",
            "content": {
                "membership": "join", "displayname": "not mine", "third_party_invite": {},
                "join_authorised_via_users_server": "@boss:b.example",
            },
            "prev_events": ["$prev"], "auth_events": ["$create"], "depth": 7, "origin_server_ts": 1, "origin": "b.example",
            "hashes": {}, "unsigned": {"x": 1},
        })
    }

    fn signed(template: &Value) -> Result<Value, String> {
        let profile = MemberProfile { displayname: Some("U".to_owned()), avatar_url: None };
        let wanted = Wanted {
            room: room_id!("!r:b.example"),
            user: user_id!("@u:a.example"),
            membership: "join",
            version: RoomVersion::V11,
            profile: &profile,
            reason: Some("because"),
            now_ms: 99,
        };
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        let signer = Signer { server: server_name!("a.example"), key: &key };
        let pdu = sign(&to_raw_value(template).unwrap(), &wanted, signer).map_err(|error| error.to_string())?;
        assert_eq!(authorised_via(&pdu).unwrap(), "@boss:b.example");
        Ok(serde_json::from_slice(pdu.json()).unwrap())
    }

    #[test]
    fn only_what_its_server_alone_knows_is_taken_from_a_template() {
        let event = signed(&template()).unwrap();
        let content = json!({
            "membership": "join", "displayname": "U", "reason": "because",
            "join_authorised_via_users_server": "@boss:b.example",
        });
        assert_eq!(event["content"], content);
        assert_eq!((&event["depth"], &event["origin_server_ts"]), (&json!(7), &json!(99)));
        assert!(event["signatures"]["a.example"].is_object());
        assert!(event.get("unsigned").is_none() && event.get("origin").is_none());
    }

    #[test]
    fn templates_of_something_else_are_refused() {
        let many: Vec<String> = (0..21).map(|number| format!("${number}")).collect();
        let cases = [
            ("type", json!("m.room.power_levels")),
            ("room_id", json!("!other:b.example")),
            ("sender", json!("@v:a.example")),
            ("state_key", json!("@v:a.example")),
            ("state_key", json!("")),
            ("content", json!({"membership": "leave"})),
            ("content", json!([])),
            ("prev_events", json!([])),
            ("prev_events", json!(many)),
            ("auth_events", json!([])),
            ("auth_events", json!(many[..11])),
            ("depth", json!(-1)),
            ("depth", json!(1.5)),
            ("depth", json!(9_007_199_254_740_992_u64)),
        ];
        for (field, value) in cases {
            let mut template = template();
            template[field] = value.clone();
            assert!(signed(&template).is_err(), "{field}: {value}");
        }
        assert!(signed(&json!([])).is_err());
    }
}
