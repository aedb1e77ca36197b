//! What this server can do (RFC 7644, section 4).

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::{Value, json};
use wardroom_provisioning::{COUNT_MAX, Page};

use crate::{
    ScimState,
    answer::{Refusal, json_answer, list},
};

/// `GET /ServiceProviderConfig` (RFC 7643, section 5).
pub(crate) async fn provider(State(state): State<ScimState>) -> Response {
    let location = format!("{}/ServiceProviderConfig", state.provisioning.base_url());
    json_answer(
        200,
        &json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": { "supported": true },
            "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
            "filter": { "supported": true, "maxResults": COUNT_MAX },
            "changePassword": { "supported": false },
            "sort": { "supported": true },
            "etag": { "supported": true },
            "authenticationSchemes": [{
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token of the server's configuration, in the header Authorization: Bearer",
                "primary": true,
            }],
            "meta": { "resourceType": "ServiceProviderConfig", "location": location },
        }),
    )
}

/// `GET /ResourceTypes`.
pub(crate) async fn resource_types(State(state): State<ScimState>) -> Response {
    all(wardroom_provisioning::resource_types(state.provisioning.base_url()))
}

/// `GET /ResourceTypes/{id}`.
pub(crate) async fn resource_type(State(state): State<ScimState>, Path(id): Path<String>) -> Result<Response, Refusal> {
    one(wardroom_provisioning::resource_types(state.provisioning.base_url()), &id)
}

/// `GET /Schemas`.
pub(crate) async fn schemas(State(state): State<ScimState>) -> Response {
    all(wardroom_provisioning::schemas(state.provisioning.base_url()))
}

/// `GET /Schemas/{id}`.
pub(crate) async fn schema(State(state): State<ScimState>, Path(id): Path<String>) -> Result<Response, Refusal> {
    one(wardroom_provisioning::schemas(state.provisioning.base_url()), &id)
}

fn all(resources: Vec<Value>) -> Response {
    list(&Page { total: resources.len(), start: 1, resources })
}

fn one(all: Vec<Value>, id: &str) -> Result<Response, Refusal> {
    let found = all.into_iter().find(|document| document["id"] == id);
    found
        .map(|document| json_answer(200, &document))
        .ok_or_else(|| Refusal::new(404, None, "There is no such resource."))
}
