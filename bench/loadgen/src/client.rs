//! A minimal Matrix client-server API client.
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha1::Sha1;

#[derive(Clone, Debug)]
pub enum Registration {
    Dummy,
    Token(String),
    SharedSecret(String),
}

#[derive(Clone, Debug)]
pub enum ApiError {
    Status { code: u16, errcode: String, body: Value },
    Io(String),
}

impl ApiError {
    /// A short key to count errors by.
    pub fn key(&self) -> String {
        match self {
            ApiError::Status { code, errcode, .. } => format!("{code} {errcode}"),
            ApiError::Io(k) => format!("io {k}"),
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApiError::Status { code, body, .. } => write!(f, "HTTP {code}: {body}"),
            ApiError::Io(k) => write!(f, "I/O: {k}"),
        }
    }
}

pub type Res<T> = Result<T, ApiError>;

/// A successful response: body bytes and the time from the start of the request to
/// the last byte of the body (parsing is not part of it).
pub struct Reply {
    pub body: Vec<u8>,
    pub took: Duration,
    pub done: Instant,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub name: String,
    pub token: String,
}

#[derive(Clone)]
pub struct Server {
    http: reqwest::Client,
    base: String,
    pub server_name: String,
    registration: Registration,
    pub password: String,
    pub room_version: String,
}

impl Server {
    pub fn new(base: &str, server_name: &str, reg: Registration, room_version: &str, timeout: Duration) -> Self {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .pool_max_idle_per_host(4096)
            .tcp_nodelay(true)
            .no_proxy()
            .http1_only()
            .build()
            .expect("HTTP client");
        Server {
            http,
            base: base.trim_end_matches('/').to_owned(),
            server_name: server_name.to_owned(),
            registration: reg,
            password: "correct horse battery staple 42".to_owned(),
            room_version: room_version.to_owned(),
        }
    }

    pub async fn call(&self, m: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Res<Reply> {
        let mut req = self.http.request(m, format!("{}{}", self.base, path));
        if let Some(t) = token {
            req = req.bearer_auth(t);
        }
        if let Some(b) = body {
            req = req.header("content-type", "application/json").body(b.to_string());
        }
        let t0 = Instant::now();
        let resp = req.send().await.map_err(io_err)?;
        let status = resp.status().as_u16();
        let body = resp.bytes().await.map_err(io_err)?;
        let done = Instant::now();
        if status / 100 != 2 {
            let body: Value = serde_json::from_slice(&body)
                .unwrap_or_else(|_| json!(String::from_utf8_lossy(&body).chars().take(200).collect::<String>()));
            let errcode = body["errcode"].as_str().unwrap_or("").to_owned();
            return Err(ApiError::Status { code: status, errcode, body });
        }
        Ok(Reply { body: body.to_vec(), took: done - t0, done })
    }

    /// Uploads a file.
    pub async fn upload(&self, u: &User, kind: &str, body: Vec<u8>) -> Res<Reply> {
        let url = format!("{}/_matrix/media/v3/upload", self.base);
        let req = self.http.post(url).bearer_auth(&u.token).header("content-type", kind).body(body);
        let t0 = Instant::now();
        let resp = req.send().await.map_err(io_err)?;
        let code = resp.status().as_u16();
        let body = resp.bytes().await.map_err(io_err)?.to_vec();
        let done = Instant::now();
        if code / 100 != 2 {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let errcode = body["errcode"].as_str().unwrap_or("").to_owned();
            return Err(ApiError::Status { code, errcode, body });
        }
        Ok(Reply { body, took: done - t0, done })
    }

    /// Reads an answer without keeping it, and counts its bytes.
    pub async fn get_length(&self, u: &User, path: &str) -> Res<usize> {
        let req = self.http.get(format!("{}{path}", self.base)).bearer_auth(&u.token);
        let mut resp = req.send().await.map_err(io_err)?;
        let mut length = 0;
        while let Some(chunk) = resp.chunk().await.map_err(io_err)? {
            length += chunk.len();
        }
        Ok(length)
    }

    pub async fn get(&self, u: &User, path: &str) -> Res<Reply> {
        self.call(Method::GET, path, Some(&u.token), None).await
    }

    pub async fn post(&self, u: &User, path: &str, body: &Value) -> Res<Reply> {
        self.call(Method::POST, path, Some(&u.token), Some(body)).await
    }

    pub async fn register(&self, name: &str) -> Res<User> {
        let v = match &self.registration {
            Registration::SharedSecret(secret) => {
                let path = "/_synapse/admin/v1/register";
                let nonce = self.call(Method::GET, path, None, None).await?.json();
                let nonce = nonce["nonce"].as_str().unwrap_or_default();
                let mac = shared_secret_mac(secret, nonce, name, &self.password);
                let body = json!({"nonce": nonce, "username": name, "password": self.password,
                    "admin": false, "mac": mac});
                self.call(Method::POST, path, None, Some(&body)).await?.json()
            }
            reg => self.register_uia(name, reg).await?,
        };
        match (v["user_id"].as_str(), v["access_token"].as_str()) {
            (Some(id), Some(token)) => Ok(User { id: id.to_owned(), name: name.to_owned(), token: token.to_owned() }),
            _ => Err(ApiError::Io(format!("registration answered {v}"))),
        }
    }

    /// POST /register, answering the stages of User-Interactive Authentication.
    async fn register_uia(&self, name: &str, reg: &Registration) -> Res<Value> {
        let path = "/_matrix/client/v3/register";
        let mut body = json!({"username": name, "password": self.password,
            "initial_device_display_name": "loadgen", "inhibit_login": false});
        for _ in 0..6 {
            match self.call(Method::POST, path, None, Some(&body)).await {
                Ok(r) => return Ok(r.json()),
                Err(ApiError::Status { code: 401, errcode, body: uia }) => match next_auth(&uia, reg) {
                    Some(auth) => body["auth"] = auth,
                    None => return Err(ApiError::Status { code: 401, errcode, body: uia }),
                },
                Err(e) => return Err(e),
            }
        }
        Err(ApiError::Io("registration did not finish".into()))
    }

    pub async fn login(&self, name: &str) -> Res<Reply> {
        let body = json!({"type": "m.login.password", "password": self.password,
            "identifier": {"type": "m.id.user", "user": name}});
        self.call(Method::POST, "/_matrix/client/v3/login", None, Some(&body)).await
    }

    pub async fn create_public_room(&self, u: &User, name: &str) -> Res<String> {
        let body = json!({"preset": "public_chat", "visibility": "private", "name": name,
            "room_version": self.room_version});
        let v = self.post(u, "/_matrix/client/v3/createRoom", &body).await?.json();
        v["room_id"].as_str().map(str::to_owned).ok_or_else(|| ApiError::Io(format!("createRoom answered {v}")))
    }

    pub async fn join(&self, u: &User, room: &str) -> Res<Reply> {
        self.post(u, &format!("/_matrix/client/v3/rooms/{}/join", enc(room)), &json!({})).await
    }

    pub async fn send(&self, u: &User, room: &str, txn: &str, content: &Value) -> Res<Reply> {
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", enc(room), enc(txn));
        self.call(Method::PUT, &path, Some(&u.token), Some(content)).await
    }

    /// GET /sync. Presence is left out of it, so that only the message path is measured.
    pub async fn sync(&self, u: &User, since: Option<&str>, timeout_ms: u64, filter: &Value) -> Res<Reply> {
        let mut path = format!(
            "/_matrix/client/v3/sync?timeout={timeout_ms}&set_presence=offline&filter={}",
            enc(&filter.to_string())
        );
        if let Some(s) = since {
            path.push_str("&since=");
            path.push_str(&enc(s));
        }
        self.get(u, &path).await
    }

    pub async fn messages(&self, u: &User, room: &str, from: Option<&str>, limit: u32) -> Res<Reply> {
        let mut path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={limit}", enc(room));
        if let Some(f) = from {
            path.push_str("&from=");
            path.push_str(&enc(f));
        }
        self.get(u, &path).await
    }

    /// Simplified Sliding Sync (MSC4186).
    pub async fn sliding_sync(&self, u: &User, pos: Option<&str>, body: &Value) -> Res<Reply> {
        let mut path =
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0&set_presence=offline".to_owned();
        if let Some(p) = pos {
            path.push_str("&pos=");
            path.push_str(&enc(p));
        }
        self.post(u, &path, body).await
    }
}

pub fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

fn io_err(e: reqwest::Error) -> ApiError {
    ApiError::Io(
        if e.is_timeout() {
            "timeout"
        } else if e.is_connect() {
            "connect"
        } else {
            "other"
        }
        .to_owned(),
    )
}

/// The `auth` dict for the next stage we can complete, given a 401 UIA response.
fn next_auth(uia: &Value, reg: &Registration) -> Option<Value> {
    let done: Vec<&str> = uia["completed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let can = |s: &str| match reg {
        Registration::Token(_) => {
            matches!(s, "m.login.dummy" | "m.login.registration_token" | "org.matrix.msc3231.login.registration_token")
        }
        _ => s == "m.login.dummy",
    };
    let stage = uia["flows"].as_array()?.iter().find_map(|flow| {
        let stages: Vec<&str> = flow["stages"].as_array()?.iter().filter_map(Value::as_str).collect();
        if stages.iter().all(|s| can(s)) { stages.into_iter().find(|s| !done.contains(s)) } else { None }
    })?;
    let mut auth = Map::new();
    auth.insert("type".into(), json!(stage));
    if let Some(s) = uia["session"].as_str() {
        auth.insert("session".into(), json!(s));
    }
    if let (Registration::Token(t), true) = (reg, stage.ends_with("registration_token")) {
        auth.insert("token".into(), json!(t));
    }
    Some(Value::Object(auth))
}

fn shared_secret_mac(secret: &str, nonce: &str, user: &str, password: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(format!("{nonce}\0{user}\0{password}\0notadmin").as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Percent-encodes a path segment or query value.
pub fn enc(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 8);
    for b in s.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding() {
        assert_eq!(enc("!a:b.c/ü"), "%21a%3Ab.c%2F%C3%BC");
    }

    #[test]
    fn mac_matches_a_known_value() {
        // python3: hmac.new(b"key", b"nonce\0alice\0pw\0notadmin", "sha1").hexdigest()
        assert_eq!(shared_secret_mac("key", "nonce", "alice", "pw"), MAC);
    }
    const MAC: &str = "6d0323e4e6aa2089b1902b9533f9c6903cc3f32e";

    #[test]
    fn uia_dummy_only() {
        let uia = json!({"session": "s1", "flows": [
            {"stages": ["m.login.recaptcha"]}, {"stages": ["m.login.dummy"]}]});
        assert_eq!(next_auth(&uia, &Registration::Dummy), Some(json!({"type": "m.login.dummy", "session": "s1"})));
        let uia = json!({"flows": [{"stages": ["m.login.recaptcha"]}]});
        assert_eq!(next_auth(&uia, &Registration::Dummy), None);
    }

    #[test]
    fn uia_token_then_dummy() {
        let reg = Registration::Token("tok".into());
        let flows = json!([{"stages": ["m.login.registration_token", "m.login.dummy"]}]);
        let a = next_auth(&json!({"session": "s", "flows": flows}), &reg).unwrap();
        assert_eq!(a, json!({"type": "m.login.registration_token", "session": "s", "token": "tok"}));
        let b = next_auth(&json!({"session": "s", "flows": flows, "completed": ["m.login.registration_token"]}), &reg)
            .unwrap();
        assert_eq!(b, json!({"type": "m.login.dummy", "session": "s"}));
        // Without a token, that flow cannot be completed.
        assert_eq!(next_auth(&json!({"flows": flows}), &Registration::Dummy), None);
    }
}
