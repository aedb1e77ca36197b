//! Who talks to a server.

use reqwest::Method;
use serde_json::{Value, json};

use crate::http::{Body, Http, Reply, Target, v3};

/// Somebody who makes requests.
pub trait Actor {
    /// The way to the server.
    fn http(&self) -> &Http;

    /// The access token to send, if any.
    fn token(&self) -> Option<&str>;

    /// Any request.
    #[track_caller]
    fn request(&self, method: &str, target: &Target, body: Body) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http().request(&method, target, self.token(), body)
    }

    /// GET.
    #[track_caller]
    fn get(&self, target: Target) -> Reply {
        self.http().request(&Method::GET, &target, self.token(), Body::Empty)
    }

    /// PUT of a JSON body.
    #[track_caller]
    fn put(&self, target: Target, body: Value) -> Reply {
        self.http().request(&Method::PUT, &target, self.token(), body.into())
    }

    /// POST of a JSON body.
    #[track_caller]
    fn post(&self, target: Target, body: Value) -> Reply {
        self.http().request(&Method::POST, &target, self.token(), body.into())
    }

    /// DELETE without a body.
    #[track_caller]
    fn delete(&self, target: Target) -> Reply {
        self.http().request(&Method::DELETE, &target, self.token(), Body::Empty)
    }
}

/// Somebody without an access token.
#[derive(Clone, Debug)]
pub struct Anonymous {
    http: Http,
}

/// A user on one device.
#[derive(Clone, Debug)]
pub struct User {
    http: Http,
    /// The full user id.
    pub id: String,
    /// The part of the id before the colon.
    pub localpart: String,
    /// The password.
    pub password: String,
    /// The device's id.
    pub device: String,
    /// The access token.
    pub token: String,
    /// The refresh token, when one was asked for.
    pub refresh_token: Option<String>,
}

impl Actor for Anonymous {
    fn http(&self) -> &Http {
        &self.http
    }

    fn token(&self) -> Option<&str> {
        None
    }
}

impl Actor for User {
    fn http(&self) -> &Http {
        &self.http
    }

    fn token(&self) -> Option<&str> {
        Some(&self.token)
    }
}

impl Anonymous {
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
    }

    /// Logs in with a password on a new device.
    #[track_caller]
    pub fn login(&self, user: &str, password: &str) -> User {
        let answer = self.try_login(user, password).ok();
        User::from_answer(&self.http, &answer, password)
    }

    /// Tries to log in with a password.
    #[track_caller]
    pub fn try_login(&self, user: &str, password: &str) -> Reply {
        self.post(v3(&["login"]), login_body(user, password))
    }
}

/// The body of a password login.
fn login_body(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

impl User {
    /// A user as the answer of a login or registration describes it.
    #[track_caller]
    pub fn from_answer(http: &Http, answer: &Value, password: &str) -> Self {
        let string =
            |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{key} is missing: {answer}")).to_owned();
        let id = string("user_id");
        let localpart = id.trim_start_matches('@').split(':').next().unwrap_or_default().to_owned();
        Self {
            http: http.clone(),
            localpart,
            password: password.to_owned(),
            device: string("device_id"),
            token: string("access_token"),
            refresh_token: answer["refresh_token"].as_str().map(str::to_owned),
            id,
        }
    }

    /// The same user without the token.
    pub fn anonymous(&self) -> Anonymous {
        Anonymous { http: self.http.clone() }
    }

    /// The same user on a further device.
    #[track_caller]
    pub fn other_device(&self) -> Self {
        self.anonymous().login(&self.id, &self.password)
    }

    /// The same user and device with another access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Answers a 401 of user-interactive authentication with the password: the request is made twice.
    #[track_caller]
    pub fn with_password_stage(&self, method: &str, target: &Target, mut body: Value) -> Reply {
        let first = self.request(method, target, body.clone().into());
        assert_eq!(first.status, 401, "expected a request for authentication: {}", first.story());
        body["auth"] = crate::password_auth(&self.id, &self.password, &first.json());
        self.request(method, target, body.into())
    }
}
