//! What the claims of a provider's tokens must say, once their signature is checked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{TokenFault, jose::Algorithm};

/// How far the clocks of both sides may be apart, in seconds.
pub(crate) const LEEWAY_SECONDS: u64 = 60;
/// A token that was signed longer ago was not made for this answer, in seconds.
const ISSUED_AGO_SECONDS_MAX: u64 = 10 * 60;
/// Longest subject, in bytes (OpenID Connect Core 1.0, section 2), and longest session id that is kept.
const NAME_BYTES_MAX: usize = 255;
/// The event that makes a token a logout token (Back-Channel Logout 1.0, section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What every token of a provider for this server has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) now_seconds: u64,
}

/// What ties an ID token to one sign-in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThisSignIn<'a> {
    pub(crate) nonce: &'a str,
    /// The access token that came beside it.
    pub(crate) access_token: Option<&'a str>,
    pub(crate) algorithm: Algorithm,
}

/// Who signed in.
#[derive(Debug)]
pub(crate) struct IdToken {
    pub(crate) subject: String,
    pub(crate) session: Option<String>,
    /// When the person proved who they are, in seconds since the epoch.
    pub(crate) auth_time: Option<u64>,
    pub(crate) claims: Map<String, Value>,
}

/// Who is to be signed out.
#[derive(Debug)]
pub(crate) struct LogoutToken {
    pub(crate) id: String,
    pub(crate) subject: Option<String>,
    pub(crate) session: Option<String>,
}

impl Expected<'_> {
    /// Issuer, audience and time.
    fn check(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        if string(claims, "iss")?.ok_or(TokenFault::Claim("iss"))? != self.issuer {
            return Err(TokenFault::Mismatch("iss"));
        }
        let audience: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return Err(TokenFault::Claim("aud")),
        };
        if !audience.contains(&self.client_id) {
            return Err(TokenFault::Mismatch("aud"));
        }
        match string(claims, "azp")? {
            Some(party) if party != self.client_id => return Err(TokenFault::Mismatch("azp")),
            None if audience.len() > 1 => return Err(TokenFault::Claim("azp")),
            _ => {}
        }
        let issued = seconds(claims, "iat")?.ok_or(TokenFault::Claim("iat"))?;
        let (early, late) = (self.now_seconds.saturating_sub(LEEWAY_SECONDS), self.now_seconds + LEEWAY_SECONDS);
        if issued > late || issued < early.saturating_sub(ISSUED_AGO_SECONDS_MAX) {
            return Err(TokenFault::Time("iat"));
        }
        if seconds(claims, "nbf")?.is_some_and(|not_before| not_before > late) {
            return Err(TokenFault::Time("nbf"));
        }
        if seconds(claims, "exp")?.is_some_and(|expires| expires <= early) {
            return Err(TokenFault::Expired);
        }
        Ok(())
    }

    /// Checks the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
    ///
    /// # Errors
    /// The first claim that is not as it must be.
    pub(crate) fn id_token(&self, claims: Map<String, Value>, sign_in: &ThisSignIn<'_>) -> Result<IdToken, TokenFault> {
        self.check(&claims)?;
        if seconds(&claims, "exp")?.is_none() {
            return Err(TokenFault::Claim("exp"));
        }
        if string(&claims, "nonce")?.ok_or(TokenFault::Claim("nonce"))? != sign_in.nonce {
            return Err(TokenFault::Mismatch("nonce"));
        }
        // Nothing that is signed for another purpose is taken for this, whatever else it says.
        if claims.contains_key("events") {
            return Err(TokenFault::Mismatch("events"));
        }
        if let (Some(hash), Some(token)) = (string(&claims, "at_hash")?, sign_in.access_token) {
            let hash = URL_SAFE_NO_PAD.decode(hash).map_err(|_| TokenFault::Claim("at_hash"))?;
            if hash != sign_in.algorithm.left_half_hash(token) {
                return Err(TokenFault::Mismatch("at_hash"));
            }
        }
        Ok(IdToken {
            subject: name(&claims, "sub")?.ok_or(TokenFault::Claim("sub"))?,
            session: name(&claims, "sid")?,
            auth_time: seconds(&claims, "auth_time")?,
            claims,
        })
    }

    /// Checks the claims of a logout token (Back-Channel Logout 1.0, section 2.6).
    ///
    /// # Errors
    /// The first claim that is not as it must be.
    pub(crate) fn logout_token(&self, claims: &Map<String, Value>) -> Result<LogoutToken, TokenFault> {
        self.check(claims)?;
        let event = claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err(TokenFault::Claim("events"));
        }
        // An ID token is never one of these.
        if claims.contains_key("nonce") {
            return Err(TokenFault::Mismatch("nonce"));
        }
        let (subject, session) = (name(claims, "sub")?, name(claims, "sid")?);
        if subject.is_none() && session.is_none() {
            return Err(TokenFault::Claim("sub"));
        }
        let id = name(claims, "jti")?.ok_or(TokenFault::Claim("jti"))?;
        Ok(LogoutToken { id, subject, session })
    }
}

fn string<'a>(claims: &'a Map<String, Value>, claim: &'static str) -> Result<Option<&'a str>, TokenFault> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Claim(claim)),
    }
}

/// A text that names somebody or something: not empty, not long.
fn name(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<String>, TokenFault> {
    match string(claims, claim)? {
        Some(text) if text.is_empty() || text.len() > NAME_BYTES_MAX => Err(TokenFault::Claim(claim)),
        text => Ok(text.map(str::to_owned)),
    }
}

/// A time in seconds since the epoch; fractions of a second are cut.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, TokenFault> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, and a fraction is to be cut"
    )]
    let cut = |number: f64| (0.0..9e15).contains(&number).then_some(number as u64);
    let number = value.as_u64().or_else(|| value.as_f64().and_then(cut));
    number.map(Some).ok_or(TokenFault::Claim(claim))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::{Expected, ISSUED_AGO_SECONDS_MAX, IdToken, LEEWAY_SECONDS, LOGOUT_EVENT, LogoutToken, ThisSignIn};
    use crate::{TokenFault, jose::Algorithm};

    const NOW: u64 = 1_700_000_000;
    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://login.example", client_id: "wardroom", now_seconds: NOW };

    fn with(mut claims: Value, changes: &[(&str, Value)]) -> Map<String, Value> {
        let map = claims.as_object_mut().unwrap();
        for (name, value) in changes {
            match value {
                Value::Null => drop(map.remove(*name)),
                value => drop(map.insert((*name).to_owned(), value.clone())),
            }
        }
        map.clone()
    }

    fn id_token(changes: &[(&str, Value)]) -> Result<IdToken, TokenFault> {
        let claims = json!({
            "iss": "https://login.example", "sub": "42", "aud": "wardroom", "iat": NOW, "exp": NOW + 300,
            "nonce": "n", "sid": "s",
        });
        let sign_in = ThisSignIn { nonce: "n", access_token: Some("token"), algorithm: Algorithm::Es256 };
        EXPECTED.id_token(with(claims, changes), &sign_in)
    }

    fn logout_token(changes: &[(&str, Value)]) -> Result<LogoutToken, TokenFault> {
        let claims = json!({
            "iss": "https://login.example", "sub": "42", "aud": ["wardroom"], "iat": NOW, "exp": NOW + 120,
            "jti": "j", "sid": "s", "events": { LOGOUT_EVENT: {} },
        });
        EXPECTED.logout_token(&with(claims, changes))
    }

    #[test]
    fn an_id_token_must_be_meant_for_this_sign_in() {
        let token = id_token(&[]).unwrap();
        assert_eq!((token.subject.as_str(), token.session.as_deref()), ("42", Some("s")));
        let right = URL_SAFE_NO_PAD.encode(Algorithm::Es256.left_half_hash("token"));
        assert!(id_token(&[("at_hash", json!(right))]).is_ok());
        assert!(id_token(&[("aud", json!(["wardroom", "other"])), ("azp", json!("wardroom"))]).is_ok());
        assert!(id_token(&[("exp", json!(NOW - LEEWAY_SECONDS + 1))]).is_ok());
        assert!(id_token(&[("iat", json!(NOW as f64 + 0.5))]).is_ok());
        for (changes, fault) in [
            (vec![("iss", json!("https://evil.example"))], TokenFault::Mismatch("iss")),
            (vec![("iss", json!("https://login.example/"))], TokenFault::Mismatch("iss")),
            (vec![("iss", Value::Null)], TokenFault::Claim("iss")),
            (vec![("aud", json!("other"))], TokenFault::Mismatch("aud")),
            (vec![("aud", json!([]))], TokenFault::Mismatch("aud")),
            (vec![("aud", json!(1))], TokenFault::Claim("aud")),
            (vec![("aud", json!(["wardroom", "other"]))], TokenFault::Claim("azp")),
            (vec![("azp", json!("other"))], TokenFault::Mismatch("azp")),
            (vec![("exp", json!(NOW - LEEWAY_SECONDS))], TokenFault::Expired),
            (vec![("exp", Value::Null)], TokenFault::Claim("exp")),
            (vec![("exp", json!("soon"))], TokenFault::Claim("exp")),
            (vec![("iat", Value::Null)], TokenFault::Claim("iat")),
            (vec![("iat", json!(-1))], TokenFault::Claim("iat")),
            (vec![("iat", json!(NOW + LEEWAY_SECONDS + 1))], TokenFault::Time("iat")),
            (vec![("iat", json!(NOW - LEEWAY_SECONDS - ISSUED_AGO_SECONDS_MAX - 1))], TokenFault::Time("iat")),
            (vec![("nbf", json!(NOW + LEEWAY_SECONDS + 1))], TokenFault::Time("nbf")),
            (vec![("nonce", json!("m"))], TokenFault::Mismatch("nonce")),
            (vec![("nonce", Value::Null)], TokenFault::Claim("nonce")),
            (vec![("sub", Value::Null)], TokenFault::Claim("sub")),
            (vec![("sub", json!(""))], TokenFault::Claim("sub")),
            (vec![("sub", json!("x".repeat(256)))], TokenFault::Claim("sub")),
            (vec![("sid", json!(7))], TokenFault::Claim("sid")),
            (vec![("at_hash", json!("AAAA"))], TokenFault::Mismatch("at_hash")),
            (vec![("at_hash", json!("!"))], TokenFault::Claim("at_hash")),
            (vec![("events", json!({ LOGOUT_EVENT: {} }))], TokenFault::Mismatch("events")),
        ] {
            assert_eq!(id_token(&changes).map(|_| ()), Err(fault), "{changes:?}");
        }
    }

    #[test]
    fn a_logout_token_is_nothing_else() {
        let token = logout_token(&[]).unwrap();
        assert_eq!(
            (token.id.as_str(), token.subject.as_deref(), token.session.as_deref()),
            ("j", Some("42"), Some("s"))
        );
        assert!(logout_token(&[("sub", Value::Null)]).is_ok() && logout_token(&[("sid", Value::Null)]).is_ok());
        for (changes, fault) in [
            (vec![("sub", Value::Null), ("sid", Value::Null)], TokenFault::Claim("sub")),
            (vec![("jti", Value::Null)], TokenFault::Claim("jti")),
            (vec![("events", Value::Null)], TokenFault::Claim("events")),
            (vec![("events", json!({ LOGOUT_EVENT: 1 }))], TokenFault::Claim("events")),
            (vec![("nonce", json!("n"))], TokenFault::Mismatch("nonce")),
            (vec![("iss", json!("https://evil.example"))], TokenFault::Mismatch("iss")),
            (vec![("aud", json!("other"))], TokenFault::Mismatch("aud")),
            (vec![("exp", json!(NOW - LEEWAY_SECONDS))], TokenFault::Expired),
            (vec![("iat", Value::Null)], TokenFault::Claim("iat")),
        ] {
            assert_eq!(logout_token(&changes).map(|_| ()), Err(fault), "{changes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_claims_make_it_panic(name in "iss|aud|azp|exp|iat|nbf|nonce|sub|sid|jti|events|at_hash|auth_time",
                                   number in any::<f64>(), kind in 0..6_usize) {
            let value = [json!(number), json!([number]), json!({}), json!(true), json!("x"), json!(u64::MAX)][kind].clone();
            let _ = (id_token(&[(&name, value.clone())]), logout_token(&[(&name, value)]));
        }
    }
}
