use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Algorithm, KeySet, TokenFault, Unchecked};

const ANY: [Algorithm; 9] = Algorithm::ASYMMETRIC;

fn keys(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is signed, and what it stands for.
fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    format!("{text}.{}", b64(&sign(text.as_bytes())))
}

/// RFC 7515, appendix A.3.
const ES256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                           cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA\
                           pmWQxfKTUJqPP3-Kg6NU1Q";

fn es256_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

#[test]
fn the_example_of_the_standard_is_read() {
    let token = Unchecked::parse(ES256_TOKEN, &ANY).unwrap();
    let claims = token.checked(&keys(&[es256_key()]), None).unwrap();
    assert_eq!(claims["iss"], "joe");
    let mut other = es256_key();
    other["x"] = json!(b64(&[7; 32]));
    assert_eq!(token.checked(&keys(&[other.clone()]), None), Err(TokenFault::Signature));
    assert!(token.checked(&keys(&[other, es256_key()]), None).is_ok(), "each key is tried where none is named");
    assert_eq!(token.checked(&KeySet::default(), None), Err(TokenFault::UnknownKey));
    let (start, _) = ES256_TOKEN.rsplit_once('.').unwrap();
    let forged = format!("{start}.{}", b64(&[0; 64]));
    let forged = Unchecked::parse(&forged, &ANY).unwrap().checked(&keys(&[es256_key()]), None);
    assert_eq!(forged, Err(TokenFault::Signature));
}

#[test]
fn ed25519_is_read() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) });
    let sign = |bytes: &[u8]| pair.sign(bytes).as_ref().to_vec();
    let token = signed(&json!({ "alg": "EdDSA" }), &json!({ "sub": "1" }), sign);
    let unchecked = Unchecked::parse(&token, &ANY).unwrap();
    assert_eq!(unchecked.checked(&keys(std::slice::from_ref(&key)), None).unwrap()["sub"], "1");
    // The key of another curve is no key for it, and of another pair a wrong one.
    assert_eq!(unchecked.checked(&keys(&[es256_key()]), None), Err(TokenFault::UnknownKey));
    let mut other = key;
    other["x"] = json!(b64(Ed25519KeyPair::generate().unwrap().public_key().as_ref()));
    assert_eq!(unchecked.checked(&keys(&[other]), None), Err(TokenFault::Signature));
}

#[test]
fn rsa_and_other_curves_are_read() {
    let rng = SystemRandom::new();
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // The key as PKCS#1 has it (RFC 8017, appendix A.1.1); the number has a zero in front, as some issuers write it too.
    let der = pair.public_key().as_ref();
    let key = json!({ "kty": "RSA", "kid": "r", "use": "sig", "n": b64(&der[8..265]), "e": b64(&der[267..270]) });
    let sign = |bytes: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &rng, bytes, &mut signature).unwrap();
        signature
    };
    let token = signed(&json!({ "alg": "PS256", "kid": "r", "typ": "JWT" }), &json!({ "sub": "1" }), sign);
    let unchecked = Unchecked::parse(&token, &ANY).unwrap();
    assert_eq!((unchecked.algorithm, unchecked.kind.as_deref()), (Algorithm::Ps256, Some("jwt")));
    assert_eq!(unchecked.checked(&keys(std::slice::from_ref(&key)), None).unwrap()["sub"], "1");
    for (field, value) in [("kid", "other"), ("use", "enc"), ("alg", "RS256"), ("kty", "oct")] {
        let mut other = key.clone();
        other[field] = json!(value);
        assert_eq!(unchecked.checked(&keys(&[other]), None), Err(TokenFault::UnknownKey), "{field}");
    }

    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let key = json!({ "kty": "EC", "crv": "P-384", "x": b64(&point[1..49]), "y": b64(&point[49..]) });
    let sign = |bytes: &[u8]| pair.sign(&rng, bytes).unwrap().as_ref().to_vec();
    let token = signed(&json!({ "alg": "ES384" }), &json!({ "sub": "1" }), sign);
    assert!(Unchecked::parse(&token, &ANY).unwrap().checked(&keys(&[key, es256_key()]), None).is_ok());
}

#[test]
fn what_is_not_allowed_is_refused_before_any_key_is_tried() {
    let token = |header: Value| signed(&header, &json!({}), |_| Vec::new());
    for alg in ["none", "None", "HS256", "ES512", "RSA1_5", ""] {
        let fault = Unchecked::parse(&token(json!({ "alg": alg })), &ANY).unwrap_err();
        assert_eq!(fault, TokenFault::Algorithm, "{alg}");
    }
    let critical = token(json!({ "alg": "RS256", "crit": ["b64"], "b64": false }));
    assert_eq!(Unchecked::parse(&critical, &ANY).unwrap_err(), TokenFault::Critical);
    for bad in ["", ".", "..", "a.b", "e30.e30.", "a.b.c.d", &"a".repeat(super::TOKEN_BYTES_MAX + 1)] {
        assert_eq!(Unchecked::parse(bad, &ANY).unwrap_err(), TokenFault::Malformed);
    }
}

#[test]
fn a_shared_secret_is_used_only_where_that_is_allowed() {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let mac = |bytes: &[u8]| aws_lc_rs::hmac::sign(&key, bytes).as_ref().to_vec();
    let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "1" }), mac);
    assert!(Unchecked::parse(&token, &ANY).is_err());
    let token = Unchecked::parse(&token, &[Algorithm::Hs256]).unwrap();
    assert!(token.checked(&KeySet::default(), Some("secret")).is_ok());
    assert_eq!(token.checked(&KeySet::default(), Some("other")), Err(TokenFault::Signature));
    for nothing in [None, Some("")] {
        assert_eq!(token.checked(&KeySet::default(), nothing), Err(TokenFault::UnknownKey));
    }
}

#[test]
fn key_sets_leave_out_what_they_do_not_know() {
    for nothing in [&b""[..], b"[]", b"{}", br#"{"keys": 1}"#] {
        assert!(KeySet::parse(nothing).is_none());
    }
    let strange = [
        json!(1),
        json!({ "kty": 7 }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "n": "!", "e": "AQAB" }),
        es256_key(),
    ];
    assert!(Unchecked::parse(ES256_TOKEN, &ANY).unwrap().checked(&keys(&strange), None).is_ok());
}

proptest! {
    #[test]
    fn no_token_makes_it_panic(token in "[A-Za-z0-9_.=-]{0,200}") {
        if let Ok(token) = Unchecked::parse(&token, &ANY) {
            let _ = token.checked(&keys(&[es256_key()]), None);
        }
    }

    #[test]
    fn no_changed_token_is_believed(at in 0..ES256_TOKEN.len(), byte in proptest::char::range('A', 'Z')) {
        let mut token = ES256_TOKEN.to_owned();
        token.replace_range(at..=at, &byte.to_string());
        if token != ES256_TOKEN && let Ok(token) = Unchecked::parse(&token, &ANY) {
            // The last character of a part has bits that stand for nothing, which the decoder refuses.
            prop_assert!(token.checked(&keys(&[es256_key()]), None).is_err());
        }
    }
}
