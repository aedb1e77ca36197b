//! Who may push users and groups: directories with a bearer token of the configuration.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use wardroom_audit::{Act, AuditError, AuditLog, Outcome, Record, origin::authenticated};
use wardroom_web::{Class, Subject};

use crate::{ScimState, answer::Refusal};

/// Shortest token that is taken, in bytes: shorter ones could be guessed.
const TOKEN_BYTES_MIN: usize = 32;

/// How much is read of the body of somebody who is not let in, in bytes.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// A directory's token, of which only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    name: String,
    sha256: [u8; 32],
}

/// Why something is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The hash is not one.
    #[error("sha256: must be 64 hexadecimal digits")]
    Hash,
    /// A line of the file does not hold a name and a token.
    #[error("line {0}: must hold a name, a space and a token of at least 32 characters")]
    Line(usize),
}

impl Token {
    /// A token by its hash, in hexadecimal digits.
    ///
    /// # Errors
    /// [`TokenError::Hash`].
    pub fn of_hash(name: &str, sha256: &str) -> Result<Self, TokenError> {
        let digits: Option<Vec<u8>> = sha256
            .bytes()
            .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let bytes: Option<Vec<u8>> = digits
            .filter(|digits| digits.len() == 64)
            .map(|digits| digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect());
        let sha256 = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(TokenError::Hash)?;
        Ok(Self { name: name.to_owned(), sha256 })
    }

    /// The tokens in a file: in each line a name, a space and the token itself. Empty lines and those that begin with
    /// `#` are passed over.
    ///
    /// # Errors
    /// [`TokenError::Line`].
    pub fn of_file(text: &str) -> Result<Vec<Self>, TokenError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let token = |(number, line): (usize, &str)| {
            let (name, token) = line.split_once(char::is_whitespace).ok_or(TokenError::Line(number))?;
            let token = token.trim();
            if token.len() < TOKEN_BYTES_MIN || token.contains(char::is_whitespace) {
                return Err(TokenError::Line(number));
            }
            Ok(Self { name: name.to_owned(), sha256: Sha256::digest(token).into() })
        };
        lines.map(token).collect()
    }

    /// What the operator calls it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether one of them is in the header. Takes the same time whichever it is.
fn is_known(tokens: &[Token], headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((scheme, token)) = value.split_once(' ') else { return false };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return false;
    }
    let given = Sha256::digest(token.trim());
    let known = tokens.iter().fold(Choice::from(0), |found, token| found | token.sha256.as_slice().ct_eq(&given));
    known.into()
}

/// Lets directories in, and nobody else. Those who come with wrong tokens again and again are told to wait.
pub(crate) async fn admit(State(state): State<ScimState>, request: Request, next: Next) -> Response {
    if is_known(&state.tokens, request.headers()) {
        authenticated(|who| who.service = Some("scim".to_owned()));
        return recorded(&state.audit, request, next).await;
    }
    let (parts, body) = request.into_parts();
    wardroom_web::drain(body, DRAIN_BYTES_MAX).await;
    if let Err(limited) = state.limits.take(Class::DirectoryToken, Subject::Ip(wardroom_web::client_ip(&parts))) {
        let wait = limited.into_response().headers().get(http::header::RETRY_AFTER).cloned();
        let mut response = Refusal::new(429, None, "Too many requests with wrong tokens.").into_response();
        response.headers_mut().extend(wait.map(|wait| (http::header::RETRY_AFTER, wait)));
        return response;
    }
    let mut response =
        Refusal::new(401, None, "Authorization: a bearer token of a directory is needed.").into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Answers a directory with a record, as administrators are answered: before anything changes, and where that fails or it
/// only looked, before the answer leaves.
async fn recorded(audit: &AuditLog, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("/scim/v2", MatchedPath::as_str);
    let (looks, call) = (request.method() == Method::GET, format!("{} {path}", request.method()));
    let record = |outcome| Record::of(Act::AdminCall).detail(&*call).outcome(outcome);
    let failed = |error: AuditError| {
        tracing::error!(%error, "the call of a directory could not be recorded");
        Refusal::new(500, None, "The audit trail cannot be written.").into_response()
    };
    if !looks && let Err(error) = audit.write(record(Outcome::Success)).await {
        return failed(error);
    }
    let response = next.run(request).await;
    let outcome = match response.status() {
        status if status.is_client_error() => Outcome::Minor,
        status if status.is_server_error() => Outcome::Major,
        _ => Outcome::Success,
    };
    if (looks || outcome != Outcome::Success)
        && let Err(error) = audit.write(record(outcome)).await
    {
        return failed(error);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

    use super::{Token, TokenError, is_known};

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn tokens_are_known_by_their_hash() {
        let mut tokens = Token::of_file(&format!("# ours\n\nentra {TOKEN}\n")).unwrap();
        assert_eq!(tokens[0].name(), "entra");
        // SHA-256 of "abc", as FIPS 180-4 gives it.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        tokens.push(Token::of_hash("okta", hash).unwrap());
        let known = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(value).unwrap())]);
            is_known(&tokens, &headers)
        };
        assert!(known(&format!("Bearer {TOKEN}")));
        assert!(known("bearer abc"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer abd", "Basic abc", TOKEN] {
            assert!(!known(wrong), "{wrong}");
        }
        assert!(!is_known(&tokens, &HeaderMap::new()));
    }

    #[test]
    fn what_is_no_token_is_told() {
        assert_eq!(Token::of_hash("x", "12"), Err(TokenError::Hash));
        assert_eq!(Token::of_hash("x", &"g".repeat(64)), Err(TokenError::Hash));
        assert_eq!(Token::of_file("a short"), Err(TokenError::Line(1)));
        assert_eq!(Token::of_file(&format!("\n{TOKEN}")), Err(TokenError::Line(2)));
    }
}
