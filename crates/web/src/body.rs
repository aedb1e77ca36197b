//! Bodies of JSON endpoints, read within limits of size and time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use ruma::api::error::ErrorKind;
use serde::de::IgnoredAny;

use crate::ApiError;

/// Largest body of a JSON endpoint, unless the route says otherwise. An event may have 65,536 bytes; room creation
/// carries several, and key uploads a hundred one-time keys.
pub const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;

/// A body must have arrived in this time, or a slow sender could hold a connection for ever.
pub const BODY_TIMEOUT_SECONDS: u64 = 60;

/// Deepest nesting of a body. Parsers further in stop at 128.
const JSON_DEPTH_MAX: usize = 100;

/// How much of a body over its limit is read and thrown away, so that the sender gets to read the answer instead of
/// a reset connection.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads a body of at most `limit` bytes. A body that came in one piece is not copied.
///
/// # Errors
/// 413 for a longer one, 408 for one that takes longer than [`BODY_TIMEOUT_SECONDS`], 400 for one that breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let reading = collect(body, limit);
    tokio::time::timeout(Duration::from_secs(BODY_TIMEOUT_SECONDS), reading).await.unwrap_or_else(|_| {
        let sentence = format!("The request body did not arrive within {BODY_TIMEOUT_SECONDS} s.");
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unknown, sentence))
    })
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    // A sender that announces too much and waits for "100 Continue" need not send it.
    if body.size_hint().lower() > DRAIN_BYTES_MAX as u64 {
        return Err(over(limit));
    }
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::not_json("The request body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        total = total.saturating_add(data.len());
        if total > limit {
            drain_up_to(body, DRAIN_BYTES_MAX.saturating_sub(total)).await;
            return Err(over(limit));
        }
        match &mut more {
            Some(buffer) => buffer.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                let mut buffer = BytesMut::with_capacity(total.saturating_add(announced).min(limit));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&data);
                more = Some(buffer);
            }
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

/// Throws away what is left of a body whose sender gets a refusal, unless it is longer than this: a sender that is
/// still writing when the connection closes may never read the answer.
pub async fn drain(body: Body, bytes_max: usize) {
    if body.size_hint().lower() <= bytes_max as u64 {
        let limit = Duration::from_secs(BODY_TIMEOUT_SECONDS);
        let _ = tokio::time::timeout(limit, drain_up_to(body, bytes_max)).await;
    }
}

/// Throws away up to `left` further bytes.
async fn drain_up_to(mut body: Body, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

fn over(limit: usize) -> ApiError {
    ApiError::too_large(format!("The request body is larger than {limit} bytes."))
}

/// Checks what ruma would let pass or report wrongly: bad UTF-8, JSON that is not an object, something behind it, and
/// nesting that nobody means.
///
/// An empty body counts as `{}`, as ruma reads it.
///
/// # Errors
/// 400 `M_NOT_JSON` or `M_BAD_JSON`.
pub fn check_object(body: &[u8]) -> Result<(), ApiError> {
    if body.is_empty() {
        return Ok(());
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(ApiError::not_json("The request body is not UTF-8."));
    };
    if is_nested_too_deep(body) {
        return Err(ApiError::bad_json(format!("The request body is nested deeper than {JSON_DEPTH_MAX} levels.")));
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(ApiError::not_json(format!("The request body is not JSON: {error}.")));
    }
    // A serde struct would also accept an array of its fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(ApiError::bad_json("The request body must be a JSON object."));
    }
    Ok(())
}

/// Whether objects and arrays are nested deeper than [`JSON_DEPTH_MAX`].
fn is_nested_too_deep(json: &[u8]) -> bool {
    // Most bodies have fewer brackets than that, which is quickly counted.
    if json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= JSON_DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{JSON_DEPTH_MAX, check_object, read};
    use axum::body::Body;
    use proptest::{collection::vec, prelude::*};
    use serde_json::Value;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// JSON with brackets in texts as well, at times nested too deep.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\[{\"\\\\x\u{e9}]{0,150}".prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::from),
                vec(("[a{\"]{0,3}", inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        });
        (tree, 0_usize..110, any::<bool>()).prop_map(|(tree, more, arrays)| {
            let wrap = |inner| if arrays { Value::from(vec![inner]) } else { serde_json::json!({ "a": inner }) };
            (0..more).fold(tree, |inner, _| wrap(inner))
        })
    }

    proptest! {
        #[test]
        fn objects_pass_unless_they_are_nested_too_deep(value in value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let passes = check_object(text.unwrap().as_bytes()).is_ok();
            prop_assert_eq!(passes, value.is_object() && depth(&value) <= JSON_DEPTH_MAX);
        }

        #[test]
        fn bytes_pass_only_if_they_are_an_object(bytes in vec(any::<u8>(), 0..40), text in "[{}\\[\\]\",:1a ]{0,24}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let is_object = serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.is_object());
                prop_assert!(check_object(bytes).is_ok() == (is_object || bytes.is_empty()), "{:?}", bytes);
            }
        }
    }

    fn chunked(chunks: &'static [&'static str]) -> Body {
        let chunks = chunks.iter().map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::from_static(chunk.as_bytes())));
        Body::from_stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn chunks_are_joined_in_order() {
        assert_eq!(read(chunked(&["{\"a\"", ":", "1}"]), 100).await.unwrap(), "{\"a\":1}");
        assert_eq!(read(chunked(&["{}"]), 2).await.unwrap(), "{}");
        assert_eq!(read(chunked(&[]), 2).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_413() {
        let error = read(chunked(&["12345", "67890", "1"]), 10).await.unwrap_err();
        assert_eq!(error.status(), 413);
    }

    #[test]
    fn only_objects_pass() {
        assert!(check_object(b"").is_ok());
        assert!(check_object(b" \n{}").is_ok());
        for bad in ["[]", "1", "\"x\"", "null", "x", "\u{feff}{}", "{} x", "{", "{}{}"] {
            assert_eq!(check_object(bad.as_bytes()).unwrap_err().status(), 400, "{bad}");
        }
        assert_eq!(check_object(b"{\"a\":\"\xff\"}").unwrap_err().status(), 400);
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(check_object(nested(100).as_bytes()).is_ok());
        assert!(check_object(nested(101).as_bytes()).is_err());
        let wide = format!("{{\"a\":[{}{{}}],\"b\":\"{}\\\"[\"}}", "[],".repeat(1_000), "[".repeat(1_000));
        assert!(check_object(wide.as_bytes()).is_ok(), "{wide}");
    }
}
