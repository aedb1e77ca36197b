//! A reading of `GET /user/devices` that takes what servers really answer: devices without keys are among them.

use http::Method;
use ruma::{
    OwnedDeviceId, OwnedUserId, UInt,
    api::{
        IncomingResponse, Metadata, OutgoingRequest,
        error::{DeserializationError, Error, IntoHttpError},
        federation::device::get_devices::v1::Request as Inner,
        path_builder::PathBuilder,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The request.
#[derive(Clone, Debug)]
pub(super) struct UserDevices(pub(super) OwnedUserId);

/// The answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) user_id: OwnedUserId,
    pub(super) stream_id: UInt,
    #[serde(default)]
    pub(super) devices: Vec<AnswerDevice>,
    pub(super) master_key: Option<Box<RawValue>>,
    pub(super) self_signing_key: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AnswerDevice {
    pub(super) device_id: OwnedDeviceId,
    pub(super) device_display_name: Option<String>,
    pub(super) keys: Option<Box<RawValue>>,
}

impl Metadata for UserDevices {
    const METHOD: Method = Inner::METHOD;
    const RATE_LIMITED: bool = Inner::RATE_LIMITED;
    type Authentication = <Inner as Metadata>::Authentication;
    type PathBuilder = <Inner as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Inner::PATH_BUILDER;
}

impl OutgoingRequest for UserDevices {
    type Body = <Inner as OutgoingRequest>::Body;
    type EndpointError = <Inner as OutgoingRequest>::EndpointError;
    type IncomingResponse = Answer;

    fn try_into_http_request_inner(
        self,
        base_url: &str,
        path_builder_input: <Self::PathBuilder as PathBuilder>::Input<'_>,
    ) -> Result<http::Request<Self::Body>, IntoHttpError> {
        Inner::new(self.0).try_into_http_request_inner(base_url, path_builder_input)
    }
}

impl IncomingResponse for Answer {
    type EndpointError = Error;

    fn try_from_http_response_inner(response: http::Response<&[u8]>) -> Result<Self, DeserializationError> {
        Ok(serde_json::from_slice(response.body())?)
    }
}

#[cfg(test)]
mod tests {
    use ruma::api::IncomingResponse as _;

    use super::Answer;

    #[test]
    fn devices_without_keys_are_no_mistake() {
        let body = br#"{"user_id":"@a:b.c","stream_id":5,"devices":[{"device_id":"X"},{"device_id":"Y","keys":{}}]}"#;
        let answer = Answer::try_from_http_response_inner(http::Response::new(&body[..])).unwrap();
        let keys: Vec<_> = answer.devices.iter().map(|device| device.keys.is_some()).collect();
        assert_eq!(keys, [false, true]);
        let body = br#"{"user_id":"@a:b.c","devices":[]}"#;
        assert!(Answer::try_from_http_response_inner(http::Response::new(&body[..])).is_err());
    }
}
