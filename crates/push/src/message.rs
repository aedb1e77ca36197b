//! What a gateway is told (specification, push gateway API, `POST /_matrix/push/v1/notify`).
//!
//! Built by hand: ruma's types leave out counts of zero, by which applications clear the number at their icon, and the
//! names under which older gateways look for the event and the membership.

use serde_json::{Map, Value, json};
use wardroom_accounts::Pusher;
use wardroom_rooms::{RoomView, Rooms, TimelineItem};

use crate::{PushError, Whose, names::Sight, worker::Due};

/// A pusher, and what its `data` says.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    pusher: &'a Pusher,
    data: Map<String, Value>,
}

impl<'a> Device<'a> {
    pub(crate) fn new(pusher: &'a Pusher) -> Self {
        Self { pusher, data: serde_json::from_str(pusher.is.data.get()).unwrap_or_default() }
    }

    /// Where the gateway is; empty where the data does not say, which no pusher that was set does.
    pub(crate) fn url(&self) -> &str {
        self.data.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the pusher wants to hear of events by id only.
    pub(crate) fn event_id_only(&self) -> bool {
        self.data.get("format").and_then(Value::as_str) == Some("event_id_only")
    }

    fn json(&self, tweaks: Option<Value>) -> Value {
        let data: Map<_, _> = self.data.iter().filter(|(name, _)| *name != "url").map(own).collect();
        let mut device = json!({
            "app_id": self.pusher.is.app_id,
            "pushkey": self.pusher.is.pushkey,
            "pushkey_ts": self.pusher.updated_ms / 1_000,
            "data": data,
        });
        if let Some(tweaks) = tweaks {
            device["tweaks"] = tweaks;
        }
        device
    }
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Only how much is unread.
pub(crate) fn badge(device: &Device<'_>, unread: u64) -> Value {
    json!({ "counts": { "unread": unread }, "prio": "low", "devices": [device.json(None)] })
}

/// An event by its id: what was said, by whom and in which room of which name stays here.
pub(crate) fn event_id_only(
    device: &Device<'_>,
    item: &TimelineItem,
    room: &RoomView,
    tweaks: &str,
    unread: u64,
) -> Value {
    let (event_id, tweaks) = (item.event.pdu.event_id(), parse(tweaks));
    json!({
        "id": event_id,
        "event_id": event_id,
        "room_id": room.id,
        "prio": prio(item, &tweaks),
        "counts": { "unread": unread },
        "devices": [device.json(Some(tweaks))],
    })
}

/// An event with everything.
pub(crate) async fn event(
    rooms: &Rooms,
    whose: Whose<'_>,
    device: &Device<'_>,
    due: &Due,
    tweaks: &str,
    unread: u64,
) -> Result<Value, PushError> {
    let Due { room, item, .. } = due;
    let sight = Sight { rooms, room, stripped: &due.stripped };
    let mut told = event_id_only(device, item, room, tweaks, unread);
    let pdu = &item.event.pdu;
    told["type"] = pdu.kind().to_string().into();
    told["sender"] = pdu.sender().as_str().into();
    told["content"] = serde_json::from_str(pdu.content().get()).unwrap_or_default();
    if let Some(name) = sight.name_of(pdu.sender()).await? {
        told["sender_display_name"] = name.into();
    }
    let names = sight.names(whose.nid).await?;
    if let Some(name) = names.name {
        told["room_name"] = name.into();
    }
    if let Some(alias) = names.alias {
        told["room_alias"] = alias.as_str().into();
    }
    if let Some(membership) = pdu.membership() {
        told["membership"] = membership.as_str().into();
        told["user_is_target"] = (pdu.state_key() == Some(whose.user.as_str())).into();
    }
    Ok(told)
}

fn parse(tweaks: &str) -> Value {
    serde_json::from_str(tweaks).unwrap_or_else(|_| json!({}))
}

/// What makes a sound or stands out wakes the device; what may do so, for it cannot be read here, too.
fn prio(item: &TimelineItem, tweaks: &Value) -> &'static str {
    let encrypted = *item.event.pdu.kind() == ruma::events::TimelineEventType::RoomEncrypted;
    let loud = tweaks.get("sound").is_some() || tweaks.get("highlight") == Some(&Value::Bool(true));
    if encrypted || loud { "high" } else { "low" }
}
