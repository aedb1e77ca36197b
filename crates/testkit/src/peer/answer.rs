//! What a scripted server hears and answers.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body as AxumBody, response::Response};
use bytes::Bytes;
use serde_json::Value;

/// A request that a scripted server received.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path as it came, still percent-encoded.
    pub path: String,
    /// The query as it came, without the question mark.
    pub query: String,
    /// The `Authorization` header.
    pub authorization: String,
    /// The body.
    pub bytes: Bytes,
}

impl Asked {
    /// The body as JSON; `Value::Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Segments of the path, decoded.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').skip(1).map(decode).collect()
    }

    /// Names and values of a form or query, decoded; a plus sign is a space.
    pub fn form(text: &str) -> Vec<(String, String)> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))).collect()
    }

    /// Values of a query parameter, decoded.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
    }
}

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer of a scripted server.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
}

#[derive(Clone, Debug)]
enum AnswerBody {
    Bytes(Bytes),
    /// A byte, then a pause, and so on.
    Drip(Bytes, Duration),
    /// The same piece so many times.
    Repeated(Bytes, usize),
    /// Nothing, ever.
    Never,
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json", body.to_string().into_bytes())
    }

    /// 200 with JSON.
    pub fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    /// A Matrix error.
    pub fn error(status: u16, errcode: &str) -> Self {
        Self::json(status, &serde_json::json!({ "errcode": errcode, "error": "so the script says" }))
    }

    /// Any bytes.
    pub fn bytes(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: AnswerBody::Bytes(body.into()) }
    }

    /// A redirection.
    pub fn redirect(to: &str) -> Self {
        Self::bytes(302, "text/plain", Vec::new()).header("location", to)
    }

    /// 200 with JSON that arrives byte by byte.
    pub fn drip(body: &Value, pause: Duration) -> Self {
        Self { body: AnswerBody::Drip(body.to_string().into_bytes().into(), pause), ..Self::ok(&Value::Null) }
    }

    /// 200 with a body of the same piece over and over.
    pub fn repeated(piece: Vec<u8>, times: usize) -> Self {
        Self { body: AnswerBody::Repeated(piece.into(), times), ..Self::ok(&Value::Null) }
    }

    /// No answer at all, while the connection stays open.
    pub fn never() -> Self {
        Self { body: AnswerBody::Never, ..Self::ok(&Value::Null) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) async fn into_response(self) -> Response {
        let body = match self.body {
            AnswerBody::Bytes(bytes) => AxumBody::from(bytes),
            AnswerBody::Drip(bytes, pause) => AxumBody::from_stream(futures_util::stream::unfold(0, move |at| {
                let bytes = bytes.clone();
                async move {
                    tokio::time::sleep(pause).await;
                    let piece = bytes.get(at..=at)?;
                    Some((Ok::<_, Infallible>(Bytes::copy_from_slice(piece)), at + 1))
                }
            })),
            AnswerBody::Repeated(piece, times) => AxumBody::from_stream(futures_util::stream::iter(
                std::iter::repeat_n(piece, times).map(Ok::<_, Infallible>),
            )),
            AnswerBody::Never => std::future::pending().await,
        };
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(body).expect("the script's headers are headers")
    }
}

/// How a scripted server answers: `None` leaves the request to whoever comes next.
pub(super) type Script = Arc<dyn Fn(&Asked) -> Option<Answer> + Send + Sync>;
