//! Answers of handlers: ruma's response types on axum's bodies.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use ruma::api::{OutgoingResponse, OutgoingResponseExt as _, error::IntoHttpError};

use crate::ApiError;

/// A response of ruma's as the answer of a handler.
#[derive(Debug)]
pub struct Reply<T>(pub T);

impl<T: OutgoingResponse> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        encode(self.0).unwrap_or_else(|error| ApiError::internal(&error).into_response())
    }
}

/// Serialises into one buffer, which becomes the body without a copy.
pub(crate) fn encode<T: OutgoingResponse>(response: T) -> Result<Response, IntoHttpError> {
    let response = response.try_into_http_response::<Vec<u8>>()?;
    Ok(response.map(Body::from))
}
