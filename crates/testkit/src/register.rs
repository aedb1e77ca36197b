//! Getting accounts.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::{
    Actor, Anonymous, User,
    http::{Reply, raw, v3},
};

/// The password of every user that a test registers without caring.
const PASSWORD: &str = "correct horse battery staple";

impl Anonymous {
    /// Registers a user through user-interactive authentication with `m.login.dummy`.
    #[track_caller]
    pub fn register(&self, name: &str) -> User {
        let answer = self.try_register(json!({ "username": name, "password": PASSWORD })).ok();
        User::from_answer(self.http(), &answer, PASSWORD)
    }

    /// Registers with a body of the caller's, doing the `m.login.dummy` stage when the server asks for it.
    #[track_caller]
    pub fn try_register(&self, mut body: Value) -> Reply {
        let first = self.post(v3(&["register"]), body.clone());
        if first.status != 401 {
            return first;
        }
        body["auth"] = dummy_auth(&first.json());
        self.post(v3(&["register"]), body)
    }

    /// Registers with the shared secret of the configuration (Synapse's admin API).
    #[track_caller]
    pub fn register_with_secret(&self, secret: &str, name: &str, admin: bool) -> Reply {
        let path = || raw("/_synapse/admin/v1/register");
        let answer = self.get(path()).ok();
        let nonce = answer["nonce"].as_str().unwrap_or_else(|| panic!("no nonce: {answer}"));
        let mac = shared_secret_mac(secret, nonce, name, PASSWORD, admin);
        let body = json!({ "nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac });
        self.post(path(), body)
    }
}

/// The `auth` object that answers a 401 with the dummy stage.
#[track_caller]
pub fn dummy_auth(asked: &Value) -> Value {
    json!({ "type": "m.login.dummy", "session": session(asked) })
}

/// The `auth` object that answers a 401 with the password stage.
#[track_caller]
pub fn password_auth(user: &str, password: &str, asked: &Value) -> Value {
    json!({
        "type": "m.login.password",
        "session": session(asked),
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

#[track_caller]
fn session(asked: &Value) -> &str {
    asked["session"].as_str().unwrap_or_else(|| panic!("a 401 of user-interactive auth has a session: {asked}"))
}

/// The `mac` of a shared-secret registration: HMAC-SHA1 of nonce, name, password and `admin` or `notadmin`, each
/// separated by a zero byte, as lower-case hex.
pub fn shared_secret_mac(secret: &str, nonce: &str, name: &str, password: &str, admin: bool) -> String {
    let role = if admin { "admin" } else { "notadmin" };
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update([nonce, name, password, role].join("\0").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::shared_secret_mac;

    #[test]
    fn the_mac_is_what_python_computes() {
        // hmac.new(b"key", b"nonce\0alice\0pw\0notadmin", "sha1").hexdigest()
        assert_eq!(shared_secret_mac("key", "nonce", "alice", "pw", false), "6d0323e4e6aa2089b1902b9533f9c6903cc3f32e");
    }
}
