//! `GET /_matrix/client/v3/retention/configuration`, and the same under its unstable name: how long this server keeps
//! messages (MSC1763). Rooms for which an administrator has set something are listed to those who are in them.

use std::{collections::BTreeMap, marker::PhantomData};

use axum::{Json, extract::State};
use http::Method;
use ruma::api::{
    IncomingRequest, Metadata,
    auth_scheme::AccessToken,
    error::{DeserializationError, Error},
    path_builder::SinglePath,
};
use serde_json::{Value, json};
use wardroom_rooms::{TERM_MS_MAX, Terms, UserNid};
use wardroom_web::{ApiError, Class, Routes, Ruma, Unwritten};

use crate::{ClientState, error};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(configuration::<Stable>).endpoint(configuration::<Unstable>)
}

/// One of the endpoint's names.
trait Name: 'static {
    const PATH: &'static str;
}

#[derive(Debug)]
struct Stable;
#[derive(Debug)]
struct Unstable;

impl Name for Stable {
    const PATH: &'static str = "/_matrix/client/v3/retention/configuration";
}

impl Name for Unstable {
    const PATH: &'static str = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration";
}

#[derive(Debug)]
struct Request<N>(PhantomData<fn() -> N>);

impl<N: Name> Metadata for Request<N> {
    const METHOD: Method = Method::GET;
    const RATE_LIMITED: bool = false;
    type Authentication = AccessToken;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new(N::PATH);
}

impl<N: Name> IncomingRequest for Request<N> {
    type EndpointError = Error;
    type OutgoingResponse = Unwritten;

    fn try_from_http_request_inner(_: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self(PhantomData))
    }
}

async fn configuration<N: Name>(
    State(state): State<ClientState>,
    request: Ruma<Request<N>>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Search, request.session.nid)?;
    let settings = state.rooms.retention();
    let user = UserNid::new(request.session.nid.get());
    let mut policies: BTreeMap<String, Terms> = BTreeMap::from([("*".to_owned(), settings.default)]);
    let set = state.rooms.retention_overrides_of(user).await.map_err(error::of_room)?;
    policies.extend(set.into_iter().map(|(room, terms)| (room.to_string(), terms)));
    let limits = |(min, max): (u64, u64)| {
        // Ends that are as far as terms go are none.
        let (min, max) = (Some(min).filter(|min| *min > 0), Some(max).filter(|max| *max < TERM_MS_MAX));
        let mut limits = json!({});
        if let Some(min) = min {
            limits["min"] = min.into();
        }
        if let Some(max) = max {
            limits["max"] = max.into();
        }
        limits
    };
    let (max, min) = (&settings.max_limits, &settings.min_limits);
    Ok(Json(json!({
        "policies": policies,
        "limits": {
            "max_lifetime": limits((*max.start(), *max.end())),
            "min_lifetime": limits((*min.start(), *min.end())),
        },
    })))
}
