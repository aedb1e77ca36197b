//! A scripted OpenID provider with keys of its own: it says of a person what a test says, checks what it is asked as a
//! certified one does, and lies where a test wants it to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    Config, Peer, TlsFiles, encode,
    peer::{Answer, Asked, Key, now_ms},
    unique,
};

/// By what name the servers under test are registered.
const CLIENT_ID: &str = "wardroom";
/// The secret that goes with it; some of it must be encoded.
const CLIENT_SECRET: &str = "a secret: of the tests%";

/// A provider on loopback, with a certificate of the tests' authority.
#[derive(Debug)]
pub struct IdentityProvider {
    peer: Peer,
    id: String,
    state: Arc<Mutex<State>>,
    authority: TlsFiles,
    _dir: TempDir,
}

/// What it has given out.
#[derive(Debug)]
struct State {
    key: Key,
    grants: HashMap<String, Grant>,
}

/// What a code stands for.
#[derive(Clone, Debug)]
struct Grant {
    redirect_uri: String,
    challenge: String,
    claims: Value,
}

/// The time, in seconds since the epoch.
fn now_seconds() -> u64 {
    now_ms() / 1_000
}

/// A token with any header, signed with Ed25519.
fn signed(key: &Key, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = STANDARD_NO_PAD.decode(key.sign(text.as_bytes())).expect("signatures are base64");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Pairs of a query or form, decoded.
fn pairs(text: &str) -> HashMap<String, String> {
    let decoded = Asked::form(text);
    decoded.into_iter().collect()
}

impl IdentityProvider {
    /// Starts a provider that is called `id` in the configuration.
    pub fn start(id: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("wardroom-idp-").tempdir().expect("a temporary directory");
        let authority = TlsFiles::issued(dir.path());
        let peer = Peer::start();
        let state = State { key: Key::generate(&unique("k")), grants: HashMap::new() };
        let provider = Self { peer, id: id.to_owned(), state: Arc::new(Mutex::new(state)), authority, _dir: dir };
        provider.serve();
        provider
    }

    fn serve(&self) {
        let issuer = self.issuer();
        self.peer.on("/.well-known/openid-configuration", move |_| {
            Answer::ok(&json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "userinfo_endpoint": format!("{issuer}/userinfo"),
                "authorization_response_iss_parameter_supported": true,
            }))
        });
        let state = Arc::clone(&self.state);
        self.peer.on("/keys", move |_| {
            let key = &state.lock().unwrap().key;
            let x = URL_SAFE_NO_PAD.encode(STANDARD_NO_PAD.decode(key.public()).unwrap());
            Answer::ok(&json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key.id, "x": x }] }))
        });
        let state = Arc::clone(&self.state);
        self.peer.on("/token", move |asked| token_answer(&state, asked));
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> String {
        format!("https://{}", self.peer.name())
    }

    /// The server behind it, for scripts.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The options of a server that knows these providers; `more` is TOML that each gets besides (`, key = value`).
    pub fn configure(providers: &[&Self], config: Config, more: &str) -> Config {
        let one = |provider: &&Self| {
            format!(
                "{{ id = {:?}, name = {:?}, issuer = {:?}, client_id = {CLIENT_ID:?}, client_secret = {CLIENT_SECRET:?}{more} }}",
                provider.id,
                format!("Provider {}", provider.id),
                provider.issuer()
            )
        };
        let all: Vec<String> = providers.iter().map(one).collect();
        let authority = providers[0].authority.root.to_str().expect("paths of the tests are UTF-8").to_owned();
        config
            .set("oidc.providers", &format!("[{}]", all.join(", ")))
            .set("oidc.extra_ca", &format!("[{authority:?}]"))
            .set("oidc.allow_ip_ranges", "[\"127.0.0.0/8\"]")
    }

    /// What a person's browser does: it is sent to `location`, the person signs in, and it is sent back. Returns where,
    /// as path and query. `claims` are over those that every token has; `null` takes one away.
    ///
    /// # Panics
    /// When the request is not one that a provider accepts.
    pub fn authorize(&self, location: &str, claims: &Value) -> String {
        let (endpoint, query) = location.split_once('?').expect("a query");
        assert_eq!(endpoint, format!("{}/authorize", self.issuer()));
        let query = pairs(query);
        let of = |name: &str| query.get(name).unwrap_or_else(|| panic!("{name} is missing: {location}")).clone();
        assert_eq!((of("response_type"), of("client_id")), ("code".to_owned(), CLIENT_ID.to_owned()));
        assert_eq!(of("code_challenge_method"), "S256");
        assert!(of("scope").split(' ').any(|scope| scope == "openid"));
        assert!(of("state").len() >= 32 && of("nonce").len() >= 32 && of("code_challenge").len() == 43);
        let mut all = self.claims(&json!({ "nonce": of("nonce"), "auth_time": now_seconds() }));
        merge(&mut all, claims);
        let (code, redirect_uri) = (unique("code"), of("redirect_uri"));
        let grant = Grant { redirect_uri: redirect_uri.clone(), challenge: of("code_challenge"), claims: all };
        self.state.lock().unwrap().grants.insert(code.clone(), grant);
        let path = redirect_uri.splitn(4, '/').nth(3).expect("a path");
        format!("/{path}?code={code}&state={}&iss={}", encode(&of("state")), encode(&self.issuer()))
    }

    /// Claims that every token has, with `more` over them.
    pub fn claims(&self, more: &Value) -> Value {
        let now = now_seconds();
        let mut claims = json!({ "iss": self.issuer(), "aud": CLIENT_ID, "iat": now, "exp": now + 300 });
        merge(&mut claims, more);
        claims
    }

    /// A token, signed with the present key.
    pub fn sign(&self, claims: &Value) -> String {
        let key = &self.state.lock().unwrap().key;
        signed(key, &json!({ "alg": "EdDSA", "kid": key.id }), claims)
    }

    /// A logout token for what `more` names: `sub`, `sid` or both.
    pub fn logout_token(&self, more: &Value) -> String {
        let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
        let mut claims = self.claims(&json!({ "jti": unique("jti"), "events": events }));
        merge(&mut claims, more);
        self.sign(&claims)
    }

    /// Signs with another key from now on, and shows only that.
    pub fn rotate_key(&self) {
        self.state.lock().unwrap().key = Key::generate(&unique("k"));
    }
}

/// What an honest token endpoint answers.
fn token_answer(state: &Mutex<State>, asked: &Asked) -> Answer {
    let form = pairs(&String::from_utf8_lossy(&asked.bytes));
    let of = |name: &str| form.get(name).cloned().unwrap_or_default();
    let mut state = state.lock().unwrap();
    let credentials = STANDARD.encode(format!("{CLIENT_ID}:a+secret%3A+of+the+tests%25"));
    if asked.authorization != format!("Basic {credentials}") {
        return Answer::json(401, &json!({ "error": "invalid_client" }));
    }
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(of("code_verifier")));
    let grant = state.grants.remove(&of("code"));
    let grant = grant.filter(|grant| grant.challenge == challenge && grant.redirect_uri == of("redirect_uri"));
    let Some(grant) = grant.filter(|_| of("grant_type") == "authorization_code") else {
        return Answer::json(400, &json!({ "error": "invalid_grant" }));
    };
    let token = signed(&state.key, &json!({ "alg": "EdDSA", "kid": state.key.id, "typ": "JWT" }), &grant.claims);
    Answer::ok(
        &json!({ "access_token": unique("access"), "token_type": "Bearer", "expires_in": 60, "id_token": token }),
    )
}

/// Sets members of an object; `null` takes one away.
fn merge(into: &mut Value, more: &Value) {
    let object = into.as_object_mut().expect("claims are an object");
    for (name, value) in more.as_object().expect("claims are an object") {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
}
