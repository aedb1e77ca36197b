//! `GET /_wardroom/admin/v1/openapi.json`: every endpoint of administrators, made of the table by which they are served.

use axum::{Json, extract::State};
use http::Method;
use serde_json::{Map, Value, json};
use wardroom_web::Routes;

use crate::{
    AdminState,
    endpoint::{Described, Endpoints},
};

/// Where the document is.
const PATH: &str = "/_wardroom/admin/v1/openapi.json";

pub(crate) fn endpoints() -> Endpoints {
    let described = Described { method: Method::GET, path: PATH, scope: None, summary: "Tells what is served here." };
    Endpoints::new().with(Routes::new().plain(Method::GET, PATH, serve), vec![described])
}

async fn serve(State(_): State<AdminState>) -> Json<Value> {
    Json(document(&crate::described()))
}

/// The document (OpenAPI 3.1) of these endpoints.
pub(crate) fn document(described: &[Described]) -> Value {
    let mut paths = Map::new();
    for endpoint in described {
        let operations = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        operations[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wardroom administration API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shapes under /_synapse/admin are those of Synapse's documented administration API.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The access token of an administrator who has the scope that the operation names.",
                },
            },
        },
    })
}

fn operation(endpoint: &Described) -> Value {
    let names = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut responses = json!({ "200": { "description": "It was done, or this is what was asked for." } });
    let mut operation = json!({ "summary": endpoint.summary, "parameters": parameters });
    if let Some(scope) = endpoint.scope {
        responses["401"] = json!({ "description": "No access token, or one that is not known." });
        responses["403"] = json!({ "description": "Not an administrator, or one without the scope." });
        operation["security"] = json!([{ "accessToken": [scope.word()] }]);
        operation["x-scope"] = scope.word().into();
    } else {
        operation["security"] = json!([]);
    }
    if matches!(endpoint.method, Method::POST | Method::PUT | Method::DELETE) {
        let content = json!({ "application/json": { "schema": { "type": "object" } } });
        operation["requestBody"] = json!({ "required": false, "content": content });
    }
    operation["responses"] = responses;
    operation
}

#[cfg(test)]
mod tests {
    use super::document;

    #[test]
    fn every_endpoint_that_is_served_stands_in_the_document() {
        let document = document(&crate::described());
        let routes = crate::routes();
        for route in routes.listed() {
            let operation = &document["paths"][&route.path][route.method.as_str().to_ascii_lowercase()];
            assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
        }
        assert_eq!(routes.listed().len(), crate::described().len(), "and each once");
    }
}
