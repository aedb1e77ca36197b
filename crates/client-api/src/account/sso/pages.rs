//! Pages for people: small, without anything from elsewhere, readable on a telephone. Everything that is not ours is
//! escaped, and the policy of each page lets nothing run but what stands here.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{StatusCode, header};
use ruma::UserId;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;
use wardroom_sso::{ProviderSettings, RedirectUrl};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:2rem auto;padding:0 1rem;\
                     color:#1a1a1a;background:#fff}h1{font-size:1.4rem}a.go{display:block;margin:1rem 0;padding:.8rem 1rem;\
                     border-radius:.4rem;background:#0b5a9d;color:#fff;text-align:center;text-decoration:none;font-weight:600}\
                     strong{overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}}";

/// What the specification has a page do whose stage of user-interactive authentication is done (section "Fallback").
const DONE: &str = "if(window.onAuthDone){window.onAuthDone()}else if(window.opener&&window.opener.postMessage){\
                    window.opener.postMessage(\"authDone\",\"*\")}";

/// A page, with the one script that it may have.
fn page(status: StatusCode, title: &str, body: &str, script: Option<&str>) -> Response {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts = script.map_or_else(|| "'none'".to_owned(), hash);
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {scripts}; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE)
    );
    let script = script.map(|script| format!("<script>{script}</script>")).unwrap_or_default();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main>{script}</body></html>"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}

/// Text for a place in HTML, within quotes too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn link(target: &str, text: &str) -> String {
    format!("<a class=\"go\" href=\"{}\">{}</a>", escaped(target), escaped(text))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Which provider to sign in with.
pub(super) fn choice(providers: &[&ProviderSettings], redirect_url: &RedirectUrl) -> Response {
    let mut body = "<p>Choose how you want to sign in.</p>".to_owned();
    for provider in providers {
        // Relative to `/login/sso/redirect`.
        let target = format!("redirect/{}?redirectUrl={}", provider.id, encoded(redirect_url.as_str()));
        body.push_str(&link(&target, &provider.name));
    }
    page(StatusCode::OK, "Sign in", &body, None)
}

/// Whether a client may sign in as the user.
pub(super) fn consent(redirect_url: &RedirectUrl, location: &str, user: &UserId) -> Response {
    let owner = redirect_url.owner();
    let body = format!(
        "<p>You are signed in as <strong>{}</strong>.</p><p><strong>{}</strong> asks for access to this account. Go on only \
         if you were about to sign in there yourself.</p>{}<p>Otherwise close this page.</p>",
        escaped(user.as_str()),
        escaped(&owner),
        link(location, &format!("Continue to {owner}"))
    );
    page(StatusCode::OK, "Continue to your account", &body, None)
}

/// Whether an action is wanted, with the providers by which to confirm it.
pub(super) fn confirmation(action: &str, providers: &[(&str, String)], cookie: &str) -> Response {
    let mut body = format!(
        "<p>An application that is signed in to your account wants to <strong>{}</strong>.</p><p>If you want this, confirm it \
         by signing in again. If you did not expect this, close this page: somebody else may be using your account.</p>",
        escaped(action)
    );
    for (name, target) in providers {
        body.push_str(&link(target, &format!("Confirm with {name}")));
    }
    let mut response = page(StatusCode::OK, "Confirm that it is you", &body, None);
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The action is confirmed; the application is told.
pub(super) fn confirmed() -> Response {
    let body = "<p>Thank you. You can close this page and go back to the application.</p>";
    page(StatusCode::OK, "Confirmed", body, Some(DONE))
}

/// Nobody was signed in.
pub(super) fn failure(status: StatusCode, sentence: &str) -> Response {
    page(status, "Signing in did not work", &format!("<p>{}</p>", escaped(sentence)), None)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::StatusCode;
    use ruma::user_id;
    use wardroom_sso::RedirectUrl;

    use super::{consent, escaped, failure};

    #[test]
    fn what_is_not_ours_is_escaped() {
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }

    #[tokio::test]
    async fn a_page_runs_nothing_and_loads_nothing() {
        let url = RedirectUrl::parse("https://evil.example/\"><script>alert(1)</script>").unwrap();
        let page = consent(&url, &url.with_token("t"), user_id!("@alice:a.example"));
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("script-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = to_bytes(page.into_body(), 100_000).await.unwrap();
        let html = std::str::from_utf8(&html).unwrap();
        assert!(!html.contains("<script") && html.contains("https://evil.example"), "{html}");
        assert_eq!(failure(StatusCode::FORBIDDEN, "<b>").status(), 403);
    }
}
