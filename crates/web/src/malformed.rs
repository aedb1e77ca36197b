//! Why ruma refused a request, in the specification's codes and with the name of the field.

use http::{Method, Request, Uri};
use ruma::{
    EventId, RoomAliasId, RoomId, RoomOrAliasId, ServerName, UserId,
    api::{
        IncomingRequest,
        error::{DeserializationError, FromHttpRequestError},
    },
};
use serde::de::IgnoredAny;

use crate::{ApiError, json_path};

/// How many query parameters are tried out in search of the wrong one.
const QUERY_TRIES_MAX: usize = 16;

/// A request that ruma refused.
pub(crate) struct Refused<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) body: &'a [u8],
    /// Names and decoded values of the path's variables, in order.
    pub(crate) path: &'a [(&'a str, &'a str)],
}

/// The answer to a request that ruma refused with `error`.
pub(crate) fn explain<T: IncomingRequest>(error: FromHttpRequestError, refused: &Refused<'_>) -> ApiError {
    match error {
        FromHttpRequestError::MethodMismatch { .. } => ApiError::method_not_allowed(),
        FromHttpRequestError::Deserialization(error) => match error {
            DeserializationError::Utf8(_) => ApiError::not_json("The request body is not UTF-8."),
            // Errors of a body have a position, those of path variables have none.
            DeserializationError::Json(error) if error.line() > 0 => body(&error, refused.body),
            DeserializationError::Query(error) => path_or_query::<T>(&error.to_string(), refused),
            DeserializationError::Header(error) => ApiError::invalid_param(format!("A header is wrong: {error}.")),
            other => path_or_query::<T>(&other.to_string(), refused),
        },
        other => ApiError::bad_json(format!("The request cannot be read: {other}.")),
    }
}

fn body(error: &serde_json::Error, body: &[u8]) -> ApiError {
    let Ok(text) = std::str::from_utf8(body) else {
        return ApiError::not_json("The request body is not UTF-8.");
    };
    if let Err(syntax) = serde_json::from_str::<IgnoredAny>(text) {
        return ApiError::not_json(format!("The request body is not JSON: {syntax}."));
    }
    let position = json_path::offset(text, error.line(), error.column());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
    if let Some(field) = named_by(message, "missing field `") {
        let object = json_path::locate(text, position);
        let dot = if object.is_empty() { "" } else { "." };
        return ApiError::bad_json(format!("`{object}{dot}{field}` is missing."));
    }
    match json_path::locate(text, position) {
        path if path.is_empty() => ApiError::bad_json(format!("The request body is wrong: {message}.")),
        path => ApiError::bad_json(format!("`{path}` is wrong: {message}.")),
    }
}

/// ruma reports wrong path variables and wrong query parameters with the same type.
fn path_or_query<T: IncomingRequest>(message: &str, refused: &Refused<'_>) -> ApiError {
    if let Some(field) = named_by(message, "missing field `") {
        return ApiError::missing_param(format!("The query parameter `{field}` is missing."));
    }
    if let Some((name, _)) = refused.path.iter().find(|(name, value)| !is_valid(name, value)) {
        return ApiError::invalid_param(format!("`{name}` in the path is wrong: {message}."));
    }
    if let Some(name) = faulty_query::<T>(message, refused) {
        return ApiError::invalid_param(format!("The query parameter `{name}` is wrong: {message}."));
    }
    match refused.path {
        [(name, _)] => ApiError::invalid_param(format!("`{name}` in the path is wrong: {message}.")),
        _ => ApiError::invalid_param(format!("The path or the query is wrong: {message}.")),
    }
}

/// Whether a path variable is the identifier its name promises; variables of other names are not judged.
fn is_valid(name: &str, value: &str) -> bool {
    match name {
        "room_id" => RoomId::parse(value).is_ok(),
        "room_id_or_alias" => <&RoomOrAliasId>::try_from(value).is_ok(),
        "room_alias" => RoomAliasId::parse(value).is_ok(),
        "event_id" => EventId::parse(value).is_ok(),
        "user_id" => UserId::parse(value).is_ok(),
        "server_name" => ServerName::parse(value).is_ok(),
        _ => true,
    }
}

/// The query parameter without which the error is gone or another one.
fn faulty_query<T: IncomingRequest>(message: &str, refused: &Refused<'_>) -> Option<String> {
    let query = refused.uri.query()?;
    let args: Vec<&str> = refused.path.iter().map(|(_, value)| *value).collect();
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair)).filter(|name| !name.is_empty());
    for name in names.take(QUERY_TRIES_MAX) {
        let rest: Vec<&str> = query.split('&').filter(|pair| pair.split('=').next() != Some(name)).collect();
        let uri = format!("{}?{}", refused.uri.path(), rest.join("&")).parse::<Uri>().ok()?;
        let mut request = Request::new(refused.body);
        *request.method_mut() = Method::clone(&T::METHOD);
        *request.uri_mut() = uri;
        match T::try_from_http_request_inner(request, &args) {
            Err(DeserializationError::Query(error)) if error.to_string() == message => {}
            _ => return Some(name.to_owned()),
        }
    }
    None
}

/// The name that follows `prefix` up to the next backtick.
fn named_by<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.split('`').next()
}
