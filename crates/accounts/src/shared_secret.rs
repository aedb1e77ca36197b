//! Registration by whoever knows a secret of the configuration, as existing scripts do it: a nonce is fetched, and the
//! request carries HMAC-SHA1 over nonce, user name, password and kind, separated by NUL bytes
//! (Synapse's "Shared-Secret Registration" documentation).

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha1::Sha1;

use crate::{AccountError, Accounts, Login, LoginRequest, NewUser, User, secret::random_bytes};

/// A nonce is good for this long.
pub const NONCE_LIFETIME_MS: u64 = 60_000;
/// Nonces that are good at the same time; the oldest goes when there are more.
pub const NONCES_MAX: usize = 1_000;

/// Nonces that were given out and not used, with the time at which they expire.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<HashMap<String, u64>>);

impl Nonces {
    fn give(&self, now_ms: u64) -> String {
        let nonce = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
        let mut nonces = self.0.lock();
        if nonces.len() >= NONCES_MAX {
            nonces.retain(|_, expires_ms| *expires_ms > now_ms);
        }
        if nonces.len() >= NONCES_MAX
            && let Some(oldest) =
                nonces.iter().min_by_key(|(_, expires_ms)| **expires_ms).map(|(nonce, _)| nonce.clone())
        {
            nonces.remove(&oldest);
        }
        nonces.insert(nonce.clone(), now_ms.saturating_add(NONCE_LIFETIME_MS));
        nonce
    }

    /// Whether the nonce was good. It is not any more.
    fn take(&self, nonce: &str, now_ms: u64) -> bool {
        self.0.lock().remove(nonce).is_some_and(|expires_ms| expires_ms > now_ms)
    }
}

/// A request to register with the shared secret.
#[derive(Clone, Copy)]
pub struct SharedSecretRegistration<'a> {
    /// From [`Accounts::shared_secret_nonce`].
    pub nonce: &'a str,
    /// Wished localpart.
    pub username: &'a str,
    /// Password of the new user.
    pub password: &'a str,
    /// Administrator of this server.
    pub admin: bool,
    /// Special kind of user, part of the MAC when given; this server knows none.
    pub user_type: Option<&'a str>,
    /// Display name of the new profile.
    pub display_name: Option<&'a str>,
    /// The MAC in hexadecimal digits.
    pub mac: &'a str,
}

impl fmt::Debug for SharedSecretRegistration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecretRegistration").field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl Accounts {
    /// A nonce for one [`Accounts::register_with_shared_secret`].
    ///
    /// # Errors
    /// [`AccountError::SharedSecretDisabled`].
    pub fn shared_secret_nonce(&self) -> Result<String, AccountError> {
        self.shared_secret()?;
        Ok(self.0.nonces.give(self.now_ms()))
    }

    /// Makes a user and signs them in; the nonce is spent, whatever comes of it.
    ///
    /// # Errors
    /// [`AccountError::SharedSecretDisabled`], [`AccountError::UnknownNonce`], [`AccountError::WrongMac`], and those of
    /// [`Accounts::register`].
    pub async fn register_with_shared_secret(
        &self,
        request: &SharedSecretRegistration<'_>,
        login: &LoginRequest<'_>,
    ) -> Result<(User, Login), AccountError> {
        let secret = self.shared_secret()?;
        if !self.0.nonces.take(request.nonce, self.now_ms()) {
            return Err(AccountError::UnknownNonce);
        }
        verify_mac(secret, request)?;
        let new = NewUser {
            localpart: Some(request.username),
            password: Some(request.password),
            admin: request.admin,
            guest: false,
            display_name: request.display_name,
        };
        self.register_signed_in(new, login).await
    }

    fn shared_secret(&self) -> Result<&str, AccountError> {
        let secret = self.0.settings.registration.shared_secret.as_deref();
        secret.filter(|secret| !secret.is_empty()).ok_or(AccountError::SharedSecretDisabled)
    }
}

fn verify_mac(secret: &str, request: &SharedSecretRegistration<'_>) -> Result<(), AccountError> {
    // NUL separates the fields: within one, it would make two different requests have the same MAC.
    if [request.username, request.password, request.user_type.unwrap_or_default()].iter().any(|s| s.contains('\0')) {
        return Err(AccountError::WrongMac);
    }
    let given = from_hex(request.mac).ok_or(AccountError::WrongMac)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).map_err(|_| AccountError::WrongMac)?;
    mac.update(request.nonce.as_bytes());
    mac.update(b"\0");
    mac.update(request.username.as_bytes());
    mac.update(b"\0");
    mac.update(request.password.as_bytes());
    mac.update(b"\0");
    mac.update(if request.admin { b"admin" } else { b"notadmin" });
    if let Some(user_type) = request.user_type {
        mac.update(b"\0");
        mac.update(user_type.as_bytes());
    }
    // Compares in constant time.
    mac.verify_slice(&given).map_err(|_| AccountError::WrongMac)
}

/// The 20 bytes of 40 hexadecimal digits.
fn from_hex(text: &str) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = char::from(digits[0]).to_digit(16)?;
        let low = char::from(digits[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{NONCE_LIFETIME_MS, NONCES_MAX, Nonces, SharedSecretRegistration, verify_mac};

    fn request<'a>(mac: &'a str, user_type: Option<&'a str>) -> SharedSecretRegistration<'a> {
        SharedSecretRegistration {
            nonce: "thisisanonce",
            username: "pepper_roni",
            password: "pizza",
            admin: true,
            user_type,
            display_name: None,
            mac,
        }
    }

    #[test]
    fn the_mac_is_hmac_sha1_of_the_fields_with_nul_between() {
        // python3: hmac.new(b"shared_secret", b"thisisanonce\0pepper_roni\0pizza\0admin", hashlib.sha1).hexdigest()
        let mac = "48715842ad67d5dc9a9ee938a3bda4fcfae8d7c7";
        assert!(verify_mac("shared_secret", &request(mac, None)).is_ok());
        assert!(verify_mac("shared_secret", &request(&mac.to_uppercase(), None)).is_ok());
        assert!(verify_mac("another", &request(mac, None)).is_err());
        assert!(verify_mac("shared_secret", &request(mac, Some("bot"))).is_err());
        assert!(verify_mac("shared_secret", &request(&mac[1..], None)).is_err());
        assert!(verify_mac("shared_secret", &request("", None)).is_err());
        assert!(verify_mac("shared_secret", &request(&"ä".repeat(20), None)).is_err());
        let notadmin = SharedSecretRegistration { admin: false, ..request(mac, None) };
        assert!(verify_mac("shared_secret", &notadmin).is_err());
        // ... + b"\0bot"
        let mac = "2ab701ea6618f3a4ffffc98f2116ea6ff5157182";
        assert!(verify_mac("shared_secret", &request(mac, Some("bot"))).is_ok());
    }

    #[test]
    fn a_nonce_is_good_once_and_for_a_minute() {
        let nonces = Nonces::default();
        let nonce = nonces.give(1_000);
        assert!(nonces.take(&nonce, 1_000));
        assert!(!nonces.take(&nonce, 1_000));
        let late = nonces.give(1_000);
        assert!(!nonces.take(&late, 1_000 + NONCE_LIFETIME_MS));
        assert!(!nonces.take("never given", 1_000));
    }

    #[test]
    fn nonces_are_bounded_and_the_oldest_goes_first() {
        let nonces = Nonces::default();
        let first = nonces.give(1);
        let second = nonces.give(2);
        for _ in 2..=NONCES_MAX {
            nonces.give(3);
        }
        assert_eq!(nonces.0.lock().len(), NONCES_MAX);
        assert!(!nonces.take(&first, 4));
        assert!(nonces.take(&second, 4));
    }
}
