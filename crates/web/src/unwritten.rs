//! The answer of requests that ruma has no types for.

use ruma::api::{OutgoingBodyJson, OutgoingResponse, error::IntoHttpError};
use serde::Serialize;

/// Stands where an [`IncomingRequest`](ruma::api::IncomingRequest) names its answer, while the handler writes another: no
/// answer is ever written by way of this.
#[derive(Debug, Serialize, OutgoingBodyJson)]
pub struct Unwritten {}

impl OutgoingResponse for Unwritten {
    type Body = Self;

    fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
        Ok(http::Response::new(self))
    }
}
