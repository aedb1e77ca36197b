//! What guests may ask for (client-server API, section "Guest access", "Client behaviour").

use http::Method;

/// Method and path of each endpoint, without `/_matrix/client/` and the version.
///
/// Beyond the specification's list: joining by alias, which clients do for guests too, and logging out.
const OPEN_TO_GUESTS: [(&str, &str); 30] = [
    ("GET", "rooms/{room_id}/state"),
    ("GET", "rooms/{room_id}/context/{event_id}"),
    ("GET", "rooms/{room_id}/event/{event_id}"),
    ("GET", "rooms/{room_id}/state/{event_type}"),
    ("GET", "rooms/{room_id}/state/{event_type}/"),
    ("GET", "rooms/{room_id}/state/{event_type}/{state_key}"),
    ("GET", "rooms/{room_id}/messages"),
    ("GET", "rooms/{room_id}/members"),
    ("GET", "rooms/{room_id}/initialSync"),
    ("GET", "sync"),
    ("GET", "events"),
    ("GET", "media/download/{server_name}/{media_id}"),
    ("GET", "media/download/{server_name}/{media_id}/{filename}"),
    ("GET", "media/thumbnail/{server_name}/{media_id}"),
    ("POST", "rooms/{room_id}/join"),
    ("POST", "join/{room_id_or_alias}"),
    ("POST", "rooms/{room_id}/leave"),
    ("PUT", "rooms/{room_id}/send/{event_type}/{txn_id}"),
    ("PUT", "rooms/{room_id}/state/{event_type}"),
    ("PUT", "rooms/{room_id}/state/{event_type}/"),
    ("PUT", "rooms/{room_id}/state/{event_type}/{state_key}"),
    ("PUT", "sendToDevice/{event_type}/{txn_id}"),
    ("PUT", "profile/{user_id}/displayname"),
    ("DELETE", "profile/{user_id}/displayname"),
    ("GET", "devices"),
    ("GET", "devices/{device_id}"),
    ("PUT", "devices/{device_id}"),
    ("GET", "account/whoami"),
    ("POST", "logout"),
    ("POST", "logout/all"),
];

/// Whether guests may use the endpoint with this path pattern.
pub(crate) fn may_use(method: &Method, path: &str) -> bool {
    let Some((_version, path)) = path.strip_prefix("/_matrix/client/").and_then(|path| path.split_once('/')) else {
        return false;
    };
    OPEN_TO_GUESTS.contains(&(method.as_str(), path))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use ruma::api::{
        Metadata as _,
        client::{membership::join_room_by_id_or_alias, state::send_state_event, sync::sync_events},
        path_builder::PathBuilder,
    };

    use super::may_use;

    #[test]
    fn the_patterns_are_rumas() {
        fn all_open(method: &Method, path: &impl PathBuilder) -> bool {
            path.all_paths().all(|path| may_use(method, path))
        }
        let state = send_state_event::v3::Request::PATH_BUILDER;
        assert!(all_open(&send_state_event::v3::Request::METHOD, &state));
        assert!(all_open(&Method::GET, &sync_events::v3::Request::PATH_BUILDER));
        assert!(all_open(&Method::POST, &join_room_by_id_or_alias::v3::Request::PATH_BUILDER));
    }

    #[test]
    fn what_is_not_listed_is_closed() {
        assert!(!may_use(&Method::POST, "/_matrix/client/v3/createRoom"));
        assert!(!may_use(&Method::DELETE, "/_matrix/client/v3/sync"));
        assert!(!may_use(&Method::GET, "/_synapse/admin/v1/register"));
    }
}
