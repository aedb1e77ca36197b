//! Cookies (RFC 6265), of which only single sign-on has any.

use http::{HeaderMap, header};
use wardroom_sso::ATTEMPT_LIFETIME_MS;

/// A header that sets a cookie for as long as a sign-in may take. A browser that comes back from the provider brings it
/// along (`Lax`), scripts and requests that other sites make do not have it.
pub(super) fn set(name: &str, value: &str, path: &str, secure: bool) -> String {
    let seconds = ATTEMPT_LIFETIME_MS / 1_000;
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{}", only_tls(secure))
}

/// A header that takes a cookie away.
pub(super) fn clear(name: &str, path: &str, secure: bool) -> String {
    format!("{name}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Lax{}", only_tls(secure))
}

/// A server that is reached without TLS is one for trying things out: its browsers would throw the cookie away.
const fn only_tls(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

/// The value of a cookie.
pub(super) fn get(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::{clear, get, set};

    #[test]
    fn cookies_are_kept_from_scripts_and_other_sites() {
        let cookie = set("a", "b", "/x", true);
        assert_eq!(cookie, "a=b; Path=/x; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
        assert!(!set("a", "b", "/x", false).contains("Secure") && clear("a", "/x", true).contains("Max-Age=0"));
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "x=1; wardroom=2=3;y=4".parse().unwrap());
        headers.append(header::COOKIE, "z=5".parse().unwrap());
        assert_eq!(get(&headers, "wardroom").as_deref(), Some("2=3"));
        assert_eq!(get(&headers, "z").as_deref(), Some("5"));
        assert_eq!(get(&headers, "ward"), None);
    }
}
