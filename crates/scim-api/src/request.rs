//! Reading of requests: bodies, parameters and conditions.

use axum::extract::Request;
use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use serde_json::Value;
use wardroom_provisioning::{Query, Shown};
use wardroom_web::{check_object, read_body};

use crate::answer::Refusal;

/// Largest body, in bytes: a group of as many members as one can have.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a request brings besides its body.
pub(crate) struct Asked {
    parameters: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { parameters, headers: request.headers().clone() }
    }

    fn get(&self, name: &str) -> Option<String> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.parameters.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Which attributes are to be shown.
    pub(crate) fn shown(&self) -> Result<Shown, Refusal> {
        Ok(Shown::read(self.all("attributes"), self.all("excludedAttributes"))?)
    }

    /// What is asked of a list.
    pub(crate) fn query(&self) -> Result<Query, Refusal> {
        Ok(Query::read(|name| self.get(name), self.shown()?)?)
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The versions to which a change is meant for.
    pub(crate) fn if_match(&self) -> Option<&str> {
        self.header(&IF_MATCH)
    }

    /// The versions that the client knows.
    pub(crate) fn if_none_match(&self) -> Option<&str> {
        self.header(&IF_NONE_MATCH)
    }
}

/// What a body asks of a list (RFC 7644, section 3.4.3).
pub(crate) fn query_of(body: &Value) -> Result<Query, Refusal> {
    let field = |name: &str| body.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    let texts = |name: &str| match field(name) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    };
    let (only, not) = (texts("attributes"), texts("excludedAttributes"));
    let shown = Shown::read(only.iter().map(String::as_str), not.iter().map(String::as_str))?;
    let get = |name: &str| match field(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    };
    Ok(Query::read(get, shown)?)
}

/// The body of a request, which must be a JSON object.
pub(crate) async fn body(request: Request) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let media_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(&*media_type, "" | "application/scim+json" | "application/json") {
        return Err(Refusal::new(415, None, "Content-Type: must be application/scim+json or application/json."));
    }
    let syntax = |sentence: &str| Refusal::new(400, Some("invalidSyntax"), sentence);
    let bytes = read_body(body, BODY_BYTES_MAX).await.map_err(|error| {
        match axum::response::IntoResponse::into_response(error).status().as_u16() {
            413 => Refusal::new(413, None, format!("The body is larger than {BODY_BYTES_MAX} bytes.")),
            408 => Refusal::new(408, None, "The body did not arrive in time."),
            _ => syntax("The body broke off."),
        }
    })?;
    if bytes.is_empty() || check_object(&bytes).is_err() {
        return Err(syntax("The body is not a JSON object."));
    }
    serde_json::from_slice(&bytes).map_err(|_| syntax("The body is not a JSON object."))
}
