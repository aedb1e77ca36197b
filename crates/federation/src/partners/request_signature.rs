//! Who signed a request ([Request authentication][spec]).
//!
//! [spec]: https://spec.matrix.org/v1.19/server-server-api/#request-authentication

use bytes::Bytes;
use http::{HeaderMap, Method, header::AUTHORIZATION};
use ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use serde::Serialize;
use wardroom_event::{canonical_json, is_signature, json_as_written};

use super::{Known, PartnerError, Partners, Wanted};

/// Signatures of one request that are looked at: a server may sign with several keys, each in a header of its own.
const SIGNATURES_MAX: usize = 4;

/// Larger bodies are brought into canonical form on another thread.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What a header `Authorization: X-Matrix` says. Nothing of it is proven yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSignature {
    /// The server that signed.
    pub origin: OwnedServerName,
    /// The server that is meant; old servers do not say it.
    pub destination: Option<String>,
    /// The key that signed.
    pub key_id: OwnedServerSigningKeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Why the origin of a request is not proven.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no header `Authorization: X-Matrix`.
    #[error("This endpoint needs the signature of a server in the header `Authorization: X-Matrix`.")]
    Missing,
    /// The header cannot be read.
    #[error("The header `Authorization: X-Matrix` is wrong: {0}.")]
    Malformed(&'static str),
    /// The header names something as its origin that cannot be a server: no signature can make that good.
    #[error("The header `Authorization: X-Matrix` is wrong: `origin` is no server name.")]
    NoServerName,
    /// The request was signed for another server.
    #[error("The request was signed for another server than this.")]
    OtherDestination,
    /// The keys of the origin cannot be fetched.
    #[error("The keys of {0} cannot be had: {1}.")]
    NoKeys(OwnedServerName, PartnerError),
    /// The origin does not publish the key that signed, or not any more.
    #[error("{0} does not publish a valid key {1}.")]
    UnknownKey(OwnedServerName, OwnedServerSigningKeyId),
    /// The signature is not one of this request.
    #[error("The signature of {0} is not one of this request.")]
    Wrong(OwnedServerName),
    /// The body has no canonical form, so that nobody can have signed it.
    #[error("The request body is not JSON that can be signed: {0}.")]
    Unsignable(String),
}

impl RequestSignature {
    /// Reads the headers of a request. Several must be of one origin.
    ///
    /// # Errors
    /// [`SignatureError::Missing`], [`SignatureError::Malformed`] and [`SignatureError::NoServerName`].
    pub fn read(headers: &HeaderMap) -> Result<Vec<Self>, SignatureError> {
        let mut found: Vec<Self> = Vec::new();
        for value in headers.get_all(AUTHORIZATION).iter().take(SIGNATURES_MAX) {
            let text = value.to_str().map_err(|_| SignatureError::Malformed("it is not ASCII"))?;
            let Some((scheme, parameters)) = text.trim().split_once(' ') else { continue };
            if !scheme.eq_ignore_ascii_case("X-Matrix") {
                continue;
            }
            let signature = Self::parse(parameters)?;
            if found.first().is_some_and(|first| first.origin != signature.origin) {
                return Err(SignatureError::Malformed("its signatures are of different servers"));
            }
            found.push(signature);
        }
        if found.is_empty() { Err(SignatureError::Missing) } else { Ok(found) }
    }

    fn parse(parameters: &str) -> Result<Self, SignatureError> {
        let malformed = SignatureError::Malformed;
        let (mut origin, mut destination, mut key, mut sig) = (None, None, None, None);
        for (name, value) in split(parameters).map_err(malformed)? {
            let slot = match name.to_ascii_lowercase().as_str() {
                "origin" => &mut origin,
                "destination" => &mut destination,
                "key" => &mut key,
                "sig" => &mut sig,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(malformed("a parameter stands there twice"));
            }
        }
        let origin = origin.ok_or(malformed("`origin` is missing"))?;
        let key = key.ok_or(malformed("`key` is missing"))?;
        let sig = sig.ok_or(malformed("`sig` is missing"))?;
        let signature = ruma::serde::Base64::<ruma::serde::base64::Standard, Vec<u8>>::parse(sig);
        Ok(Self {
            origin: origin.try_into().map_err(|_| SignatureError::NoServerName)?,
            destination,
            key_id: key.try_into().map_err(|_| malformed("`key` is no key id"))?,
            signature: signature.map_err(|_| malformed("`sig` is not base64"))?.into_inner(),
        })
    }
}

/// The parameters `name=value` or `name="value"`, separated by commas. Servers write colons and slashes without
/// quotes, which RFC 9110 does not let them, so this reads what they mean.
fn split(parameters: &str) -> Result<Vec<(&str, String)>, &'static str> {
    let mut found = Vec::new();
    let mut rest = parameters.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("a parameter has no value")?;
        let after = after.trim_start();
        let mut value = String::new();
        let end = if let Some(quoted) = after.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            loop {
                match characters.next().ok_or("a quote is not closed")? {
                    (_, '\\') => value.push(characters.next().ok_or("a quote is not closed")?.1),
                    (at, '"') => break at + 2,
                    (_, other) => value.push(other),
                }
            }
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
            end
        };
        found.push((name.trim(), value));
        rest = after[end..].trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').ok_or("the parameters are not separated by commas")?.trim_start();
        }
    }
    Ok(found)
}

/// The messages one of which is signed. The fields stand in the order of canonical JSON.
fn messages(
    method: &Method,
    uri: &str,
    body: &[u8],
    origin: &ServerName,
    destination: &ServerName,
) -> Result<Vec<Vec<u8>>, SignatureError> {
    #[derive(Serialize)]
    struct Message<'a> {
        destination: &'a str,
        method: &'a str,
        origin: &'a str,
        uri: &'a str,
    }
    let unsignable = |error: &dyn std::error::Error| SignatureError::Unsignable(error.to_string());
    let destination = destination.as_str();
    // As all but the content is written, the content comes first.
    let message = Message { destination, method: method.as_str(), origin: origin.as_str(), uri };
    let rest = serde_json::to_vec(&message).map_err(|error| unsignable(&error))?;
    if body.is_empty() {
        return Ok(vec![rest]);
    }
    let with = |content: &str| {
        let fields = rest.get(1..).unwrap_or_default();
        [b"{\"content\":", content.as_bytes(), b",", fields].concat()
    };
    // Numbers that canonical JSON does not have are signed as they are written, and some that it has, too.
    let written = json_as_written(body).map_err(|error| unsignable(&error))?;
    let canonical = canonical_json(body).ok().filter(|canonical| *canonical != written);
    Ok(canonical.iter().chain([&written]).map(|content| with(content)).collect())
}

impl Partners {
    /// Whether a key that signed is known already, so that nothing has to be fetched to prove it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn knows_keys_of(&self, signatures: &[RequestSignature]) -> Result<bool, PartnerError> {
        let Some(first) = signatures.first() else { return Ok(false) };
        let known = self.inner.keyring.known(&first.origin).await?;
        let now_ms = self.inner.clock.now_ms();
        let is_good = |known: &Known, signature: &RequestSignature| {
            known.keys.get(&signature.key_id).is_some_and(|key| key.valid_until_ts >= now_ms)
        };
        Ok(known.is_some_and(|known| signatures.iter().any(|signature| is_good(&known, signature))))
    }

    /// Proves who signed a request: one signature by a key that its origin publishes and that is good now. `uri` is path
    /// and query as they came, `body` the body as it came, empty where there is none.
    ///
    /// # Errors
    /// As [`SignatureError`] says.
    pub async fn verify_request(
        &self,
        signatures: &[RequestSignature],
        method: &Method,
        uri: &str,
        body: &Bytes,
    ) -> Result<(), SignatureError> {
        let first = signatures.first().ok_or(SignatureError::Missing)?;
        let (origin, own_name) = (&first.origin, self.own_name());
        let elsewhere = |signature: &RequestSignature| {
            signature.destination.as_ref().is_some_and(|destination| destination != own_name.as_str())
        };
        if signatures.iter().any(elsewhere) {
            return Err(SignatureError::OtherDestination);
        }
        let now_ms = self.inner.clock.now_ms();
        let key_ids = signatures.iter().map(|signature| signature.key_id.clone()).collect();
        let known = self.keys_of(origin, &[Wanted { key_ids, at_ms: now_ms }]).await;
        let known = known.map_err(|error| SignatureError::NoKeys(origin.clone(), error))?;
        let messages = if body.len() > INLINE_BYTES_MAX {
            let (method, uri, body) = (method.clone(), uri.to_owned(), body.clone());
            let (origin, own_name) = (origin.clone(), own_name.to_owned());
            let made = tokio::task::spawn_blocking(move || messages(&method, &uri, &body, &origin, &own_name)).await;
            made.map_err(|_| SignatureError::Unsignable("it could not be read".to_owned()))??
        } else {
            messages(method, uri, body, origin, own_name)?
        };
        let mut problem = SignatureError::UnknownKey(origin.clone(), first.key_id.clone());
        for signature in signatures {
            let Some(key) = known.keys.get(&signature.key_id).filter(|key| key.valid_until_ts >= now_ms) else {
                continue;
            };
            if messages.iter().any(|message| is_signature(&key.key, message, &signature.signature)) {
                // Whoever sends can be reached again, it seems.
                self.note_success(origin);
                return Ok(());
            }
            problem = SignatureError::Wrong(origin.clone());
        }
        Err(problem)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<Vec<RequestSignature>, SignatureError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        RequestSignature::read(&headers)
    }

    #[test]
    fn headers_are_read_as_servers_write_them() {
        for header in [
            r#"X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k1",sig="AAECAw""#,
            r#"X-Matrix origin=a.example:8448,destination=b.example,key="ed25519:k1",sig="AAECAw==""#,
            r#"x-matrix  sig="AAECAw", key = "ed25519:\k1" ,ORIGIN=a.example:8448, destination="b.example", more="a,b=c""#,
        ] {
            let read = read(&[header]).unwrap();
            assert_eq!(read[0].origin, "a.example:8448");
            assert_eq!(read[0].destination.as_deref(), Some("b.example"));
            assert_eq!(read[0].key_id, "ed25519:k1");
            assert_eq!(read[0].signature, [0, 1, 2, 3]);
        }
        let old = read(&[r#"X-Matrix origin=a.example,key="ed25519:1",sig="AAAA""#]).unwrap();
        assert_eq!(old[0].destination, None);
        let two = r#"X-Matrix origin=a.example,key="ed25519:2",sig="AAAA""#;
        assert_eq!(
            read(&["Bearer x", r#"X-Matrix origin=a.example,key="ed25519:1",sig="AAAA""#, two]).unwrap().len(),
            2
        );
    }

    #[test]
    fn other_headers_are_refused() {
        assert!(matches!(read(&[]), Err(SignatureError::Missing)));
        assert!(matches!(read(&["Bearer abc"]), Err(SignatureError::Missing)));
        for bad in [
            "X-Matrix origin",
            "X-Matrix origin=a.example",
            r#"X-Matrix origin="a.example,key="ed25519:1",sig="AAAA""#,
            r#"X-Matrix origin=a.example,key="1",sig="AAAA""#,
            r#"X-Matrix origin=a.example,key="ed25519:1",sig="*""#,
            r#"X-Matrix origin=a.example,origin=a.example,key="ed25519:1",sig="AAAA""#,
            r#"X-Matrix origin=a.example,key="ed25519:1"sig="AAAA""#,
        ] {
            assert!(matches!(read(&[bad]), Err(SignatureError::Malformed(_))), "{bad}");
        }
        for origin in ["a b", "a.example:http", ""] {
            let header = format!(r#"X-Matrix origin="{origin}",key="ed25519:1",sig="AAAA""#);
            assert!(matches!(read(&[&header]), Err(SignatureError::NoServerName)), "{header}");
        }
        let one = r#"X-Matrix origin=a.example,key="ed25519:1",sig="AAAA""#;
        let other = r#"X-Matrix origin=b.example,key="ed25519:1",sig="AAAA""#;
        assert!(matches!(read(&[one, other]), Err(SignatureError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "[ -~]{0,80}", inner in "[a-z\"\\\\=, :]{0,40}") {
            let _ = read(&[&text]);
            let _ = read(&[&format!("X-Matrix {inner}")]);
        }
    }

    #[test]
    fn the_signed_message_is_canonical() {
        let (a, b) = (ruma::server_name!("a.example"), ruma::server_name!("b.example"));
        let signed = messages(&Method::PUT, "/x?y=%2F", b"{\"b\": 1e0, \"a\":\"\\u00e9\"}", a, b).unwrap();
        let expected = r#"{"content":{"a":"é","b":1},"destination":"b.example","method":"PUT","origin":"a.example","uri":"/x?y=%2F"}"#;
        assert_eq!(std::str::from_utf8(&signed[0]).unwrap(), expected);
        assert_eq!(std::str::from_utf8(&signed[1]).unwrap(), expected.replace(":1}", ":1e0}"));
        let without = messages(&Method::GET, "/x", b"", a, b).unwrap();
        assert_eq!(without, [br#"{"destination":"b.example","method":"GET","origin":"a.example","uri":"/x"}"#]);
        // What is no canonical JSON is signed as it is written, and what is canonical has one form.
        let fraction = messages(&Method::PUT, "/x", b"{\"a\":1.5}", a, b).unwrap();
        assert!(fraction.len() == 1 && fraction[0].starts_with(b"{\"content\":{\"a\":1.5},"));
        assert_eq!(messages(&Method::PUT, "/x", b"{\"b\":1,\"a\":[]}", a, b).unwrap().len(), 1);
        assert!(messages(&Method::PUT, "/x", b"{\"a\":}", a, b).is_err());
    }
}
