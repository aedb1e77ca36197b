//! Where a client wants the browser back (client-server API, section "Client login via SSO").

use url::Url;

use crate::SsoError;

/// Longest URL, in bytes.
pub const REDIRECT_URL_BYTES_MAX: usize = 2_048;

/// Schemes that make a browser do something else than hand the token to a client.
const REFUSED_SCHEMES: [&str; 8] =
    ["javascript", "data", "vbscript", "file", "about", "blob", "filesystem", "view-source"];

/// A URL to which a login token may be handed, when the user agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUrl(Url);

impl RedirectUrl {
    /// Reads what a client gave.
    ///
    /// # Errors
    /// [`SsoError::BadRedirect`].
    pub fn parse(text: &str) -> Result<Self, SsoError> {
        if text.len() > REDIRECT_URL_BYTES_MAX {
            return Err(SsoError::BadRedirect("it is longer than 2048 bytes."));
        }
        let url = Url::parse(text).map_err(|_| SsoError::BadRedirect("it is no absolute URL."))?;
        if REFUSED_SCHEMES.contains(&url.scheme()) {
            return Err(SsoError::BadRedirect("its scheme is not one of a client."));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SsoError::BadRedirect("it has a user name or password in it."));
        }
        Ok(Self(url))
    }

    /// Whether it begins like one of these, up to a border: `https://a.example` is no beginning of
    /// `https://a.example.evil.example`.
    pub(crate) fn is_among(&self, beginnings: &[String]) -> bool {
        let url = self.0.as_str();
        beginnings.iter().any(|beginning| {
            url.strip_prefix(beginning.as_str()).is_some_and(|rest| {
                beginning.ends_with(['/', ':', '?', '#', '=', '&'])
                    || rest.is_empty()
                    || rest.starts_with(['/', '?', '#'])
            })
        })
    }

    /// Whom it belongs to, as people can tell: scheme and host, or the scheme of an application.
    pub fn owner(&self) -> String {
        match self.0.host_str() {
            Some(host) if matches!(self.0.scheme(), "http" | "https") => match self.0.port() {
                Some(port) => format!("{}://{host}:{port}", self.0.scheme()),
                None => format!("{}://{host}", self.0.scheme()),
            },
            _ => format!("{}:", self.0.scheme()),
        }
    }

    /// As the client gave it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// With the token as the only `loginToken`.
    pub fn with_token(&self, token: &str) -> String {
        let others: Vec<(String, String)> =
            self.0.query_pairs().filter(|(name, _)| name != "loginToken").map(|(n, v)| (n.into(), v.into())).collect();
        let mut url = self.0.clone();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("loginToken", token);
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RedirectUrl;

    #[test]
    fn a_token_replaces_those_that_were_there() {
        let with = |url: &str| RedirectUrl::parse(url).unwrap().with_token("t");
        assert_eq!(with("https://a.example"), "https://a.example/?loginToken=t");
        assert_eq!(with("https://a.example/?a=1&loginToken=x&b#f"), "https://a.example/?a=1&b=&loginToken=t#f");
        assert_eq!(with("io.element.app:/callback"), "io.element.app:/callback?loginToken=t");
        assert_eq!(with("element://connect"), "element://connect?loginToken=t");
    }

    #[test]
    fn what_is_no_client_is_refused() {
        let long = format!("https://a.example/{}", "a".repeat(2_048));
        for bad in [
            "",
            "nowhere",
            "/relative",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            &long,
            "https://a.example@evil.example/",
            "file:///etc/passwd",
            " javascript:alert(1)",
        ] {
            assert!(RedirectUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn beginnings_end_at_a_border() {
        let allowed =
            ["https://chat.a.example".to_owned(), "element://".to_owned(), "https://b.example/app/".to_owned()];
        let among = |url: &str| RedirectUrl::parse(url).unwrap().is_among(&allowed);
        for good in [
            "https://chat.a.example",
            "https://chat.a.example/?x",
            "element://connect",
            "https://b.example/app/x",
            "HTTPS://CHAT.A.EXAMPLE/",
        ] {
            assert!(among(good), "{good}");
        }
        for bad in [
            "https://chat.a.example.evil.example/",
            "http://chat.a.example/",
            "https://b.example/application",
            "https://chat.a.example:8443/",
            "https://evil.example/?https://chat.a.example/",
        ] {
            assert!(!among(bad), "{bad}");
        }
    }

    #[test]
    fn the_owner_is_what_people_know() {
        let owner = |url: &str| RedirectUrl::parse(url).unwrap().owner();
        assert_eq!(owner("https://chat.a.example/x?y"), "https://chat.a.example");
        assert_eq!(owner("http://127.0.0.1:8080/x"), "http://127.0.0.1:8080");
        assert_eq!(owner("io.element.app:/callback"), "io.element.app:");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            if let Ok(url) = RedirectUrl::parse(&text) {
                let _ = (url.with_token("t"), url.owner(), url.is_among(&["https://a".to_owned()]));
            }
        }
    }
}
