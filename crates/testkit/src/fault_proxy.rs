//! A reverse proxy in front of a server, under the server's name, that does what bad networks do.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body as AxumBody, to_bytes},
    extract::Request,
    response::Response,
};
use bytes::Bytes;

use crate::peer::tls_server::TlsServer;

/// Bytes of a body that the proxy passes on.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Past transactions that may come again.
const REMEMBERED_MAX: usize = 64;

/// What goes wrong. Everything is fine by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Nobody gets through.
    pub cut_off: bool,
    /// Servers whose requests do not get through.
    pub refused: BTreeSet<String>,
    /// Each request is held back for up to so long.
    pub delay: Duration,
    /// One in so many requests does not arrive, and its connection breaks. 0: none.
    pub lose_request_one_in: u32,
    /// One in so many answers breaks off in the middle, after the request was dealt with. 0: none.
    pub cut_answer_one_in: u32,
    /// One in so many transactions arrives twice at once. 0: none.
    pub duplicate_one_in: u32,
    /// With one in so many transactions a few of the past arrive again, the newest first. 0: none.
    pub replay_one_in: u32,
}

/// The proxy. It is known before the server behind it is there, so that the server can be named after it.
#[derive(Debug)]
pub struct FaultProxy {
    name: String,
    shared: Arc<Shared>,
    _server: TlsServer,
}

#[derive(Debug)]
struct Shared {
    /// Base URL of what is behind.
    target: RwLock<String>,
    faults: Mutex<Faults>,
    transactions: Mutex<Vec<Passed>>,
    client: reqwest::Client,
}

/// A request, to be sent as often as the proxy likes.
#[derive(Clone, Debug)]
struct Passed {
    method: reqwest::Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl FaultProxy {
    /// Listens with nothing behind it.
    pub fn start() -> Self {
        let client = crate::http::client_builder().tls_certs_only([]).build().expect("an HTTP client");
        let shared = Arc::new(Shared {
            target: RwLock::default(),
            faults: Mutex::default(),
            transactions: Mutex::default(),
            client,
        });
        let served = Arc::clone(&shared);
        let router = Router::new().fallback(move |request: Request| {
            let shared = Arc::clone(&served);
            async move { shared.pass(request).await }
        });
        let server = TlsServer::start(TlsServer::bind(), router);
        Self { name: server.address.to_string(), shared, _server: server }
    }

    /// The name under which the server behind is known: `127.0.0.1:PORT`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is behind: the base URL of a plain listener.
    pub fn point_at(&self, base: &str) {
        base.clone_into(&mut self.shared.target.write().unwrap());
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.faults.lock().unwrap());
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }
}

/// Whether it is the turn of something that happens to one in `many`.
fn one_in(many: u32) -> bool {
    many > 0 && rand::random_range(0..many) == 0
}

/// The answer of a gateway whose server is gone.
fn unreachable() -> Response {
    Response::builder().status(502).body(AxumBody::from("nobody there")).expect("a response")
}

/// An answer that ends before its body does.
fn broken(of: &Bytes) -> Response {
    let half = of.slice(..of.len() / 2);
    let pieces = [Ok(half), Err(std::io::Error::other("cut"))];
    let body = AxumBody::from_stream(futures_util::stream::iter(pieces));
    let length = of.len().max(1);
    Response::builder().header("content-length", length).body(body).expect("a response")
}

impl Shared {
    async fn pass(&self, request: Request) -> Response {
        let faults = self.faults.lock().unwrap().clone();
        let (head, body) = request.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let origin = text("authorization").split("origin=").nth(1).unwrap_or_default();
        let origin = origin.trim_start_matches('"').split(['"', ',']).next().unwrap_or_default();
        if faults.cut_off || faults.refused.contains(origin) {
            return unreachable();
        }
        if one_in(faults.lose_request_one_in) {
            return broken(&Bytes::from_static(b"lost"));
        }
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay.mul_f64(rand::random_range(0.0..1.0))).await;
        }
        let headers = head.headers.iter().filter(|(name, _)| {
            !matches!(name.as_str(), "connection" | "transfer-encoding" | "content-length" | "expect")
        });
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let passed = Passed {
            method: reqwest::Method::from_bytes(head.method.as_str().as_bytes()).expect("a method"),
            target: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: headers.collect(),
            body: to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default(),
        };
        let answer = if passed.target.starts_with("/_matrix/federation/v1/send/") {
            self.transaction(&faults, passed).await
        } else {
            self.forward(&passed).await
        };
        let Some((status, headers, body)) = answer else { return unreachable() };
        if one_in(faults.cut_answer_one_in) {
            return broken(&body);
        }
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(AxumBody::from(body)).expect("a response")
    }

    /// Passes a transaction on, perhaps twice, perhaps with some of the past.
    async fn transaction(&self, faults: &Faults, passed: Passed) -> Option<(u16, Vec<(String, String)>, Bytes)> {
        let answer = if one_in(faults.duplicate_one_in) {
            let (first, second) = tokio::join!(self.forward(&passed), self.forward(&passed));
            first.or(second)
        } else {
            self.forward(&passed).await
        };
        let past = {
            let mut transactions = self.transactions.lock().unwrap();
            let past = if one_in(faults.replay_one_in) { transactions.clone() } else { Vec::new() };
            transactions.push(passed);
            if transactions.len() > REMEMBERED_MAX {
                transactions.remove(0);
            }
            past
        };
        for passed in past.iter().rev().take(4) {
            self.forward(passed).await;
        }
        answer
    }

    async fn forward(&self, passed: &Passed) -> Option<(u16, Vec<(String, String)>, Bytes)> {
        let url = format!("{}{}", self.target.read().unwrap(), passed.target);
        let mut request = self.client.request(passed.method.clone(), url).body(passed.body.clone());
        for (name, value) in &passed.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "connection" | "transfer-encoding" | "content-length"));
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let headers = headers.collect();
        Some((status, headers, response.bytes().await.ok()?))
    }
}
