//! Query parameters of endpoints whose bodies are streams.

use std::{str::FromStr, time::Duration};

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use wardroom_media::WAIT_DEFAULT_MS;
use wardroom_web::ApiError;

/// The parameters of a query, decoded. Of those that are there twice the first counts.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(params) = query.map_err(|_| ApiError::invalid_param("The query is not UTF-8 once it is decoded."))?;
        Ok(Self(params))
    }
}

impl Params {
    /// A parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number, or another type with few values.
    pub(super) fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = text.parse().map_err(|_| ApiError::invalid_param(format!("{name}: it must be {expected}.")))?;
        Ok(Some(parsed))
    }

    /// How long to wait for a content that was announced.
    pub(super) fn wait(&self) -> Result<Duration, ApiError> {
        let ms = self.parse("timeout_ms", "a number of milliseconds")?;
        Ok(Duration::from_millis(ms.unwrap_or(WAIT_DEFAULT_MS)))
    }
}
