//! The one error type of handlers, and how it looks on the wire.

use std::{error::Error, fmt::Write as _, time::Duration};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use ruma::api::{
    OutgoingResponse,
    client::uiaa::{UiaaInfo, UiaaResponse},
    error::{
        Error as MatrixError, ErrorBody, ErrorKind, LimitExceededErrorData, RetryAfter, StandardErrorBody,
        UnknownTokenErrorData,
    },
};

use crate::reply;

/// Longest sentence sent to a client, in bytes; what a client sent may be quoted in it.
const SENTENCE_BYTES_MAX: usize = 500;

/// What a handler answers instead of its response.
///
/// Shape on the wire: the specification's "standard error response" (client-server API, section "Standard error
/// response"), or the body of a user-interactive authentication that goes on.
#[derive(Debug)]
pub enum ApiError {
    /// A status with `errcode` and a sentence.
    Matrix(Box<MatrixError>),
    /// 401 with the flows and the session of user-interactive authentication.
    Uiaa(Box<UiaaInfo>),
}

impl ApiError {
    /// An error with this status, `errcode` and sentence. The sentence names the field that is wrong, if one is.
    pub fn new(status: StatusCode, kind: ErrorKind, sentence: impl Into<String>) -> Self {
        let sentence = shortened(sentence.into());
        let body = ErrorBody::Standard(StandardErrorBody::new(kind, sentence));
        Self::Matrix(Box::new(MatrixError::new(status, body)))
    }

    /// An error whose `errcode` or fields ruma has no type for. `json` must hold `errcode` and `error`.
    pub fn json(status: StatusCode, json: serde_json::Value) -> Self {
        Self::Matrix(Box::new(MatrixError::new(status, ErrorBody::Json(json))))
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, sentence)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, sentence)
    }

    /// 400 `M_NOT_JSON`.
    pub fn not_json(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::NotJson, sentence)
    }

    /// 400 `M_BAD_JSON`: JSON of the wrong shape.
    pub fn bad_json(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::BadJson, sentence)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidParam, sentence)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::MissingParam, sentence)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, sentence)
    }

    /// 404 `M_UNRECOGNIZED`: this server has no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::Unrecognized, "This server has no such endpoint.")
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint exists, its method is another.
    pub fn method_not_allowed() -> Self {
        let sentence = "This endpoint does not answer to that method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Unrecognized, sentence)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        let sentence = "This endpoint needs an access token in the header `Authorization: Bearer`.";
        Self::new(StatusCode::UNAUTHORIZED, ErrorKind::MissingToken, sentence)
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the device still exists and may log in or refresh
    /// (client-server API, section "Soft logout").
    pub fn unknown_token(soft_logout: bool) -> Self {
        let mut data = UnknownTokenErrorData::new();
        data.soft_logout = soft_logout;
        let sentence = if soft_logout { "The access token has expired." } else { "The access token is not known." };
        Self::new(StatusCode::UNAUTHORIZED, ErrorKind::UnknownToken(data), sentence)
    }

    /// 401 `M_USER_LOCKED` with `soft_logout` (client-server API, section "Account locking").
    pub fn locked() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorKind::UserLocked, "This account has been locked.")
    }

    /// 429 `M_LIMIT_EXCEEDED` with `Retry-After` (whole seconds, rounded up) and `retry_after_ms`.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        // The header counts whole seconds and ruma writes both from one duration: round up, never invite too early.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        let mut data = LimitExceededErrorData::new();
        data.retry_after = Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        let sentence = format!("Too many requests: try again in {seconds} s.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorKind::LimitExceeded(data), sentence)
    }

    /// 500 `M_UNKNOWN`. The error and its causes are logged, the client is not told.
    pub fn internal(error: &dyn Error) -> Self {
        let mut causes = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            // Writing to a String does not fail.
            let _ = write!(causes, ": {cause}");
            next = cause.source();
        }
        tracing::error!(error = %causes, "a request failed inside the server");
        Self::internal_unlogged()
    }

    /// 500 `M_UNKNOWN` for a full disk. Who found the disk full has logged it.
    pub fn disk_full() -> Self {
        let sentence = "The server cannot store anything at the moment.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Unknown, sentence)
    }

    /// 500 `M_UNKNOWN` of which the log already tells.
    pub(crate) fn internal_unlogged() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Unknown, "An error inside the server.")
    }

    /// What the client is told.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Matrix(error) => match &error.body {
                ErrorBody::Standard(body) => &body.message,
                _ => "This was refused.",
            },
            Self::Uiaa(_) => "More authentication is needed.",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Matrix(error) => error.status_code,
            Self::Uiaa(_) => StatusCode::UNAUTHORIZED,
        }
    }
}

impl From<MatrixError> for ApiError {
    fn from(error: MatrixError) -> Self {
        Self::Matrix(Box::new(error))
    }
}

impl From<UiaaInfo> for ApiError {
    fn from(info: UiaaInfo) -> Self {
        Self::Uiaa(Box::new(info))
    }
}

impl From<UiaaResponse> for ApiError {
    fn from(response: UiaaResponse) -> Self {
        match response {
            UiaaResponse::AuthResponse(info) => info.into(),
            UiaaResponse::MatrixError(error) => error.into(),
        }
    }
}

/// The body of a 401 that asks for the next stage. After an attempt `completed` is told also where it is empty, as the
/// specification's example shows it; ruma leaves it out then.
fn challenge(info: &UiaaInfo) -> Response {
    match serde_json::to_value(info) {
        Ok(serde_json::Value::Object(mut json)) => {
            if info.auth_error.is_some() {
                json.entry("completed").or_insert_with(|| serde_json::Value::Array(Vec::new()));
            }
            let json = ErrorBody::Json(serde_json::Value::Object(json));
            respond(MatrixError::new(StatusCode::UNAUTHORIZED, json))
        }
        _ => respond(UiaaResponse::AuthResponse(info.clone())),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Matrix(error) => respond(*error),
            Self::Uiaa(info) => challenge(&info),
        }
    }
}

fn respond<T: OutgoingResponse>(error: T) -> Response {
    reply::encode(error).unwrap_or_else(|failure| {
        tracing::error!(error = %failure, "an error answer could not be written");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// Cuts a sentence to [`SENTENCE_BYTES_MAX`] at a character boundary.
fn shortened(mut sentence: String) -> String {
    if sentence.len() > SENTENCE_BYTES_MAX {
        sentence.truncate(sentence.floor_char_boundary(SENTENCE_BYTES_MAX));
        sentence.push('…');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{body::to_bytes, response::IntoResponse};
    use serde_json::{Value, json};

    use super::ApiError;

    async fn wire(error: ApiError) -> (u16, Option<String>, Value) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(http::header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers()[http::header::CONTENT_TYPE], "application/json");
        let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, retry_after, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn an_error_is_a_status_an_errcode_and_a_sentence() {
        let (status, _, body) = wire(ApiError::forbidden("You may not.")).await;
        assert_eq!((status, body), (403, json!({"errcode": "M_FORBIDDEN", "error": "You may not."})));
    }

    #[tokio::test]
    async fn a_limit_rounds_the_wait_up_to_seconds_in_header_and_body() {
        let (status, retry_after, body) = wire(ApiError::limit_exceeded(Duration::from_millis(1_200))).await;
        assert_eq!((status, retry_after.as_deref()), (429, Some("2")));
        assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED");
        assert_eq!(body["retry_after_ms"], 2_000);
    }

    #[tokio::test]
    async fn an_internal_error_tells_the_client_nothing() {
        let cause = std::io::Error::other("secret detail");
        let (status, _, body) = wire(ApiError::internal(&cause)).await;
        assert_eq!((status, body["errcode"].as_str()), (500, Some("M_UNKNOWN")));
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn an_expired_token_is_a_soft_logout() {
        let (status, _, body) = wire(ApiError::unknown_token(true)).await;
        assert_eq!((status, &body["soft_logout"]), (401, &json!(true)));
        let (_, _, body) = wire(ApiError::unknown_token(false)).await;
        assert_ne!(body["soft_logout"], json!(true));
    }

    #[test]
    fn long_sentences_are_cut_at_a_character() {
        let ApiError::Matrix(error) = ApiError::bad_json("é".repeat(1_000)) else { panic!("not a Matrix error") };
        assert!(error.to_string().len() < 600);
    }
}
