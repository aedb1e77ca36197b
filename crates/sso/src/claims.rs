//! What of the claims is used here: names and addresses, found by JSON pointers (RFC 6901).

use serde_json::{Map, Value};

/// Claims about the token itself, which those of the userinfo endpoint do not replace.
const OF_THE_TOKEN: [&str; 13] =
    ["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "auth_time", "acr", "sid"];

/// Whether this can be a JSON pointer.
pub fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && !text.replace("~0", "").replace("~1", "").contains('~')
}

/// The claims of both, those of the userinfo endpoint over those of the token.
pub(crate) fn merged(mut claims: Map<String, Value>, userinfo: Map<String, Value>) -> Map<String, Value> {
    // Methods of authentication are the token's too: they were checked there.
    let taken = |name: &String| !OF_THE_TOKEN.contains(&name.as_str()) && name != "amr";
    claims.extend(userinfo.into_iter().filter(|(name, _)| taken(name)));
    claims
}

/// The text at a pointer; numbers are text too.
pub(crate) fn text(claims: &Map<String, Value>, pointer: &str) -> Option<String> {
    let (first, rest) = split(pointer)?;
    let value = claims.get(&first)?.pointer(rest)?;
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The e-mail address, unless the provider says that it does not know whether it is the person's.
pub(crate) fn email(claims: &Map<String, Value>, pointer: &str) -> Option<String> {
    let unverified = matches!(claims.get("email_verified"), Some(Value::Bool(false)));
    if unverified { None } else { text(claims, pointer).filter(|email| email.contains('@')) }
}

/// The first step of a pointer, unescaped, and the rest.
fn split(pointer: &str) -> Option<(String, &str)> {
    let path = pointer.strip_prefix('/')?;
    let end = path.find('/').unwrap_or(path.len());
    Some((path[..end].replace("~1", "/").replace("~0", "~"), &path[end..]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{email, is_pointer, merged, text};

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn pointers_lead_into_claims() {
        let claims = map(json!({
            "preferred_username": " alice ", "staff": { "number": 4711, "ids": ["a", "b"] }, "a/b": "slash", "empty": " ",
        }));
        assert_eq!(text(&claims, "/preferred_username").as_deref(), Some("alice"));
        assert_eq!(text(&claims, "/staff/number").as_deref(), Some("4711"));
        assert_eq!(text(&claims, "/staff/ids/1").as_deref(), Some("b"));
        assert_eq!(text(&claims, "/a~1b").as_deref(), Some("slash"));
        for nothing in ["/empty", "/staff", "/nobody", "/staff/ids/7", "preferred_username", ""] {
            assert_eq!(text(&claims, nothing), None, "{nothing}");
        }
        assert!(is_pointer("/a/b~1c") && !is_pointer("a") && !is_pointer("") && !is_pointer("/a~2"));
    }

    #[test]
    fn the_userinfo_endpoint_adds_claims_and_replaces_none_of_the_token() {
        let token = map(json!({ "sub": "1", "acr": "weak", "amr": ["pwd"], "name": "old" }));
        let userinfo = map(json!({ "sub": "2", "acr": "strong", "amr": ["mfa"], "name": "new", "groups": ["ward-7"] }));
        let all = merged(token, userinfo);
        let expected = json!({ "sub": "1", "acr": "weak", "amr": ["pwd"], "name": "new", "groups": ["ward-7"] });
        assert_eq!(Value::Object(all), expected);
    }

    #[test]
    fn only_verified_addresses_count() {
        assert_eq!(email(&map(json!({ "email": "a@b.example" })), "/email").as_deref(), Some("a@b.example"));
        assert_eq!(email(&map(json!({ "email": "a@b.example", "email_verified": false })), "/email"), None);
        assert_eq!(email(&map(json!({ "email": "nobody" })), "/email"), None);
    }
}
