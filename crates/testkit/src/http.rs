//! Requests to one server, and what to expect of the answers.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, LazyLock, RwLock},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::process::log_tail;

/// No answer of any test may take longer.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Shorter than the server's patience with an idle connection, so that no request meets a closing one.
const IDLE_CONNECTION_LIMIT: Duration = Duration::from_secs(4);
/// How much of an answer a failure shows.
const SHOWN_CHARS_MAX: usize = 2_000;

/// One runtime for every client of the process: a connection lives on the runtime that opened it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
});

/// The runtime of the tests' clients, and of the servers that tests play.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// A way to one server. Clones share it, and follow the server when it restarts elsewhere.
#[derive(Clone, Debug)]
pub struct Http(Arc<Link>);

#[derive(Debug)]
struct Link {
    /// Base URL and client, replaced when the server restarts.
    way: RwLock<(String, reqwest::Client)>,
    log: PathBuf,
}

/// The server did not answer at all.
#[derive(Debug)]
pub struct Unreachable(pub String);

/// Path and query of a request.
#[derive(Clone, Debug)]
pub struct Target(String);

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing, and no content type.
    Empty,
    /// A JSON value as `application/json`.
    Json(Value),
    /// Bytes as they are, with a content type.
    Raw(Vec<u8>, &'static str),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// From the start of the request to the last byte of the answer.
    pub took: Duration,
    asked: String,
    log: PathBuf,
}

/// A path under `/_matrix/client/v3`, each segment percent-encoded.
pub fn v3(segments: &[&str]) -> Target {
    Target::under("/_matrix/client/v3", segments)
}

/// A path under `/_matrix/client/v1`, each segment percent-encoded.
pub fn v1(segments: &[&str]) -> Target {
    Target::under("/_matrix/client/v1", segments)
}

/// A path and query exactly as given.
pub fn raw(path: &str) -> Target {
    Target(path.to_owned())
}

/// Percent-encodes a path segment or a query value.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len() + 8);
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
    }
    encoded
}

impl Target {
    fn under(prefix: &str, segments: &[&str]) -> Self {
        let mut path = prefix.to_owned();
        for segment in segments {
            path.push('/');
            path.push_str(&encode(segment));
        }
        Self(path)
    }

    /// A path under `/_matrix/federation/v1`, each segment percent-encoded.
    pub fn federation_v1(segments: &[&str]) -> Self {
        Self::under("/_matrix/federation/v1", segments)
    }

    /// A path under `/_matrix/federation/v2`, each segment percent-encoded.
    pub fn federation_v2(segments: &[&str]) -> Self {
        Self::under("/_matrix/federation/v2", segments)
    }

    /// Path and query, as they are sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(&encode(value));
        self
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl Http {
    pub(crate) fn new(base: String, log: PathBuf) -> Self {
        Self(Arc::new(Link { way: RwLock::new((base, plain_client())), log }))
    }

    /// Points every clone at a server that was started again; old connections are forgotten.
    pub(crate) fn redirect(&self, base: String) {
        *self.0.way.write().unwrap() = (base, plain_client());
    }

    /// Where the server answers, without a slash at the end.
    pub fn base(&self) -> String {
        self.0.way.read().unwrap().0.clone()
    }

    /// Sends a request; `None` when the server cannot be reached or closes before its answer is whole.
    ///
    /// # Errors
    /// `Unreachable` when no whole answer came.
    pub fn try_request(
        &self,
        method: &Method,
        target: &Target,
        token: Option<&str>,
        body: Body,
    ) -> Result<Reply, Unreachable> {
        let (base, client) = self.0.way.read().unwrap().clone();
        let mut request = client.request(method.clone(), format!("{base}{}", target.0)).timeout(REQUEST_LIMIT);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request = match body {
            Body::Empty => request,
            Body::Json(json) => request.header("content-type", "application/json").body(json.to_string()),
            Body::Raw(bytes, content_type) => request.header("content-type", content_type).body(bytes),
        };
        self.send(request, format!("{method} {}", target.0))
    }

    /// PUT of JSON.
    ///
    /// # Errors
    /// `Unreachable` when no whole answer came.
    pub fn try_put(&self, target: &Target, token: Option<&str>, body: Value) -> Result<Reply, Unreachable> {
        self.try_request(&Method::PUT, target, token, Body::Json(body))
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// `Unreachable` when no whole answer came.
    pub fn try_post(&self, target: &Target, token: Option<&str>, body: Value) -> Result<Reply, Unreachable> {
        self.try_request(&Method::POST, target, token, Body::Json(body))
    }

    /// Sends a request with further headers.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn request_with(
        &self,
        method: &str,
        target: &Target,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Reply {
        let (base, client) = self.0.way.read().unwrap().clone();
        let parsed = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = client.request(parsed, format!("{base}{}", target.0)).timeout(REQUEST_LIMIT);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request = match body {
            Body::Empty => request,
            Body::Json(json) => request.header("content-type", "application/json").body(json.to_string()),
            Body::Raw(bytes, content_type) => request.header("content-type", content_type).body(bytes),
        };
        match self.send(request, format!("{method} {}", target.0)) {
            Ok(reply) => reply,
            Err(Unreachable(why)) => panic!("no answer to {why}"),
        }
    }

    /// Sends a request that the caller built with a client of its own.
    pub(crate) fn send(&self, request: reqwest::RequestBuilder, asked: String) -> Result<Reply, Unreachable> {
        let start = Instant::now();
        let answer = RUNTIME.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.bytes().await?))
        });
        match answer {
            Ok((status, headers, bytes)) => {
                let (bytes, took, log) = (bytes.to_vec(), start.elapsed(), self.0.log.clone());
                Ok(Reply { status, headers, bytes, took, asked, log })
            }
            Err(error) => Err(Unreachable(format!("{asked}: {error:?}\n{}", log_tail(&self.0.log)))),
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn request(&self, method: &Method, target: &Target, token: Option<&str>, body: Body) -> Reply {
        match self.try_request(method, target, token, body) {
            Ok(reply) => reply,
            Err(Unreachable(why)) => panic!("no answer to {why}"),
        }
    }
}

/// A client without TLS, proxies and redirects: requests go to the server under test and nowhere else.
fn plain_client() -> reqwest::Client {
    client_builder().tls_certs_only([]).build().expect("an HTTP client")
}

/// What every client of the tests has in common.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(IDLE_CONNECTION_LIMIT)
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.bytes) {
            Ok(json) => json,
            Err(error) => panic!("the answer is not JSON ({error}): {}", self.story()),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body of a 200 answer.
    ///
    /// # Panics
    /// When the answer is another one.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "expected 200: {}", self.story());
        self.json()
    }

    /// The body of a Matrix error: exactly this status and `errcode`, and a sentence in `error`
    /// (client-server API, "Standard error response").
    ///
    /// # Panics
    /// When the answer is another one.
    #[track_caller]
    pub fn refused(&self, status: u16, errcode: &str) -> Value {
        self.refused_with_one_of(status, &[errcode])
    }

    /// As [`Reply::refused`], where the specification allows several error codes.
    ///
    /// # Panics
    /// When the answer is another one.
    #[track_caller]
    pub fn refused_with_one_of(&self, status: u16, errcodes: &[&str]) -> Value {
        assert_eq!(self.status, status, "expected {status} {errcodes:?}: {}", self.story());
        let json = self.json();
        let errcode = json["errcode"].as_str().unwrap_or_default();
        assert!(errcodes.contains(&errcode), "expected {errcodes:?}: {}", self.story());
        let sentence = json["error"].as_str().unwrap_or_default();
        assert!(!sentence.is_empty(), "an error needs a sentence: {}", self.story());
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/json"), "content type {content_type}: {}", self.story());
        json
    }

    /// A refusal that may hide whether the thing exists: 403 `M_FORBIDDEN` or 404 `M_NOT_FOUND`.
    ///
    /// # Panics
    /// When the answer is another one.
    #[track_caller]
    pub fn denied(&self) -> Value {
        let errcode = if self.status == 404 { "M_NOT_FOUND" } else { "M_FORBIDDEN" };
        self.refused(if self.status == 404 { 404 } else { 403 }, errcode)
    }

    /// A 4xx answer with any error code, where the specification leaves the choice.
    ///
    /// # Panics
    /// When the answer is another one.
    #[track_caller]
    pub fn refused_somehow(&self) -> Value {
        assert!((400..500).contains(&self.status), "expected a refusal: {}", self.story());
        let json = self.json();
        let errcode = json["errcode"].as_str().unwrap_or_default();
        assert!(errcode.starts_with("M_"), "an errcode is missing: {}", self.story());
        json
    }

    /// The request, the answer and, for a server's fault, the end of its log.
    pub fn story(&self) -> String {
        let shown: String = String::from_utf8_lossy(&self.bytes).chars().take(SHOWN_CHARS_MAX).collect();
        let mut story = format!("{} was answered {} {shown}", self.asked, self.status);
        if self.status >= 500 {
            story.push('\n');
            story.push_str(&log_tail(&self.log));
        }
        story
    }
}

#[cfg(test)]
mod tests {
    use super::{encode, v3};

    #[test]
    fn segments_and_query_values_are_percent_encoded() {
        assert_eq!(encode("!a:b.c/ü"), "%21a%3Ab.c%2F%C3%BC");
        let target = v3(&["rooms", "!r:h", "state", ""]).query("at", "a b").query("dir", "b");
        assert_eq!(target.0, "/_matrix/client/v3/rooms/%21r%3Ah/state/?at=a%20b&dir=b");
    }
}
