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
use serde_json::Value;

use crate::{ApiError, json_path, quirks};

/// How many query parameters are tried out in search of the wrong one.
const QUERY_TRIES_MAX: usize = 16;

/// How many fields of a body are tried out in search of the wrong one.
const BODY_TRIES_MAX: usize = 64;

/// Largest body in which that is done, in bytes.
const BODY_TRIES_BYTES_MAX: usize = 64 * 1024;

/// A request that ruma refused.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Its URI.
    pub uri: &'a Uri,
    /// Its body.
    pub body: &'a [u8],
    /// Names and decoded values of the path's variables, in order.
    pub path: &'a [(&'a str, &'a str)],
}

/// The answer to a request that ruma refused with `error`.
pub fn explain<T: IncomingRequest + 'static>(error: FromHttpRequestError, refused: &Refused<'_>) -> ApiError {
    match error {
        FromHttpRequestError::MethodMismatch { .. } => ApiError::method_not_allowed(),
        FromHttpRequestError::Deserialization(error) => match error {
            DeserializationError::Utf8(_) => ApiError::not_json("The request body is not UTF-8."),
            DeserializationError::Json(error) => body::<T>(&error, refused),
            DeserializationError::Query(error) => path_or_query::<T>(&error.to_string(), refused),
            DeserializationError::Header(error) => ApiError::invalid_param(format!("A header is wrong: {error}.")),
            other => path_or_query::<T>(&other.to_string(), refused),
        },
        other => ApiError::bad_json(format!("The request cannot be read: {other}.")),
    }
}

fn body<T: IncomingRequest + 'static>(error: &serde_json::Error, refused: &Refused<'_>) -> ApiError {
    let Ok(text) = std::str::from_utf8(refused.body) else {
        return ApiError::not_json("The request body is not UTF-8.");
    };
    if let Err(syntax) = serde_json::from_str::<IgnoredAny>(text) {
        return ApiError::not_json(format!("The request body is not JSON: {syntax}."));
    }
    let position = json_path::offset(text, error.line(), error.column());
    let message = message_of(error);
    if let Some(field) = named_by(&message, "missing field `") {
        let object = json_path::locate(text, position);
        let dot = if object.is_empty() { "" } else { "." };
        return ApiError::bad_json(format!("`{object}{dot}{field}` is missing."));
    }
    let path = Some(json_path::locate(text, position)).filter(|path| !path.is_empty());
    match path.or_else(|| faulty_field::<T>(error, refused)) {
        Some(path) => ApiError::bad_json(format!("`{path}` is wrong: {message}.")),
        None => ApiError::bad_json(format!("The request body is wrong: {message}.")),
    }
}

/// The field without which the error is gone or another one: for types that serde buffers (flattened structs, tagged
/// and untagged enums), whose errors have the position of the whole body.
fn faulty_field<T: IncomingRequest + 'static>(error: &serde_json::Error, refused: &Refused<'_>) -> Option<String> {
    if refused.body.len() > BODY_TRIES_BYTES_MAX {
        return None;
    }
    let body: Value = serde_json::from_slice(refused.body).ok()?;
    let message = message_of(error);
    let args: Vec<&str> = refused.path.iter().map(|(_, value)| *value).collect();
    let changes_without = |pointer: &[String]| {
        let Some(rest) = without(&body, pointer) else { return false };
        if quirks::check::<T>(&rest).is_err() {
            return false;
        }
        let mut request = Request::new(rest.as_slice());
        *request.method_mut() = Method::clone(&T::METHOD);
        *request.uri_mut() = refused.uri.clone();
        let same = |other: &serde_json::Error| message_of(other) == message;
        !matches!(T::try_from_http_request_inner(request, &args), Err(DeserializationError::Json(other)) if same(&other))
    };
    // Down from the top: the innermost field whose absence makes a difference.
    let mut found: Vec<String> = Vec::new();
    let mut tries = 0;
    while let Some(object) = found.iter().try_fold(&body, |value, key| value.get(key)).and_then(Value::as_object) {
        let mut next = None;
        // A tag that is gone makes every type another one: it comes last.
        let (tags, fields): (Vec<&String>, Vec<&String>) = object.keys().partition(|key| *key == "type");
        for key in fields.into_iter().chain(tags) {
            tries += 1;
            if tries > BODY_TRIES_MAX {
                break;
            }
            let mut pointer = found.clone();
            pointer.push(key.clone());
            if changes_without(&pointer) {
                next = Some(pointer);
                break;
            }
        }
        match next {
            Some(pointer) => found = pointer,
            None => break,
        }
    }
    (!found.is_empty()).then(|| found.join("."))
}

/// The body without one field.
fn without(body: &Value, pointer: &[String]) -> Option<Vec<u8>> {
    let (last, parents) = pointer.split_last()?;
    let mut body = body.clone();
    let parent = parents.iter().try_fold(&mut body, |value, key| value.get_mut(key))?;
    parent.as_object_mut()?.remove(last);
    serde_json::to_vec(&body).ok()
}

/// What an error says, without its position.
fn message_of(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(before, _)| before.to_owned())
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
