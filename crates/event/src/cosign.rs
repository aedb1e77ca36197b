//! A second signature on an event that another server made.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use ruma::ServerName;

use crate::{
    Pdu, SigningKey,
    canonical::{Json, Object},
    hash,
    pdu_format::{self, PDU_BYTES_MAX, ParseError},
    redaction::write,
};

impl Pdu {
    /// The event with this server's signature beside the others: an invite that the invited user's server takes, or a
    /// join that a server of the room authorises. Its id stays the same, and so does all else of it.
    ///
    /// # Errors
    /// [`ParseError::TooLarge`] where there is no room for the signature.
    pub fn cosigned(&self, server_name: &ServerName, key: &SigningKey) -> Result<Self, ParseError> {
        self.with_signature(server_name, key.key_id().as_str(), self.signature(key)?)
    }

    /// A signature of the event, in unpadded Base64: what stays of it when it is redacted is signed.
    ///
    /// # Errors
    /// [`ParseError`] where the event cannot be read.
    pub fn signature(&self, key: &SigningKey) -> Result<String, ParseError> {
        let event = pdu_format::read_object(&self.json)?;
        let mut buffer = Vec::with_capacity(self.json.len());
        hash::write_signed_form(&event, &self.version.rules().redaction, &mut buffer);
        Ok(STANDARD_NO_PAD.encode(key.sign(&buffer)))
    }

    /// The event with a signature that somebody made of it, beside the others.
    pub(crate) fn with_signature(
        &self,
        server_name: &ServerName,
        key_id: &str,
        signature: String,
    ) -> Result<Self, ParseError> {
        let mut event = pdu_format::read_object(&self.json)?;
        let mut buffer = Vec::with_capacity(self.json.len());
        let mut signatures = object(event.remove("signatures"));
        let mut ours = object(signatures.remove(server_name.as_str()));
        ours.insert(key_id, Json::String(signature.into()));
        signatures.insert(server_name.as_str(), Json::Object(ours));
        event.insert("signatures", Json::Object(signatures));
        write(&mut buffer, &event);
        drop(event);
        if buffer.len() > PDU_BYTES_MAX {
            return Err(ParseError::TooLarge { bytes: buffer.len() });
        }
        let signed = Self::from_stored(Bytes::from(buffer), self.event_id.clone(), self.version)?;
        Ok(signed.with_rejected(self.rejected))
    }
}

fn object(json: Option<Json<'_>>) -> Object<'_> {
    match json {
        Some(Json::Object(object)) => object,
        _ => Object::default(),
    }
}
