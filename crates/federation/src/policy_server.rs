//! Asking the policy servers of rooms for their signatures
//! ([Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use http::StatusCode;
use ruma::{ServerName, api::federation::policy::sign_event::v1 as sign_event};
use serde_json::value::RawValue as RawJsonValue;
use tokio::time::timeout;
use wardroom_event::Pdu;
use wardroom_rooms::{PolicyServers, Unsigned};

use crate::{Limits, PartnerError, Partners, lanes::Lanes};

/// How long a policy server may take, its place in the queue included: whoever sends a message waits for it, and with
/// them the room.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest answer: one signature.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Events that one policy server is asked about at the same time, whatever the rooms.
const ASKED_AT_ONCE: usize = 16;
/// Longest sentence of a policy server that is shown to users, in characters.
const SENTENCE_CHARS_MAX: usize = 300;

/// Asks policy servers.
#[derive(Debug)]
pub(crate) struct PolicyClient {
    partners: Partners,
    lanes: Lanes,
}

impl PolicyClient {
    pub(crate) fn new(partners: &Partners) -> Self {
        Self { partners: partners.clone(), lanes: Lanes::new(ASKED_AT_ONCE) }
    }

    async fn ask(&self, via: &ServerName, event: &Pdu) -> Result<Pdu, Unsigned> {
        let unreachable = |sentence: &str| Unsigned::Unreachable(sentence.to_owned());
        let json = std::str::from_utf8(event.json()).ok().map(str::to_owned);
        let json = json.and_then(|json| RawJsonValue::from_string(json).ok());
        let request = sign_event::Request::new(json.ok_or_else(|| unreachable("the event is no JSON"))?);
        let limits = Limits { timeout: ANSWER_MAX, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
        let asked = async {
            let _lane = self.lanes.enter(via).await;
            self.partners.request(via, request, limits).await
        };
        let answer = timeout(ANSWER_MAX, asked).await.map_err(|_| unreachable("it took too long"))?;
        let answer = answer.map_err(told)?;
        let signature = answer.ed25519_signature(via).ok_or_else(|| unreachable("it answers without a signature"))?;
        event.signed_by_policy_server(via, signature).map_err(|error| Unsigned::Unreachable(error.to_string()))
    }
}

impl PolicyServers for PolicyClient {
    fn sign<'a>(&'a self, via: &'a ServerName, event: &'a Pdu) -> BoxFuture<'a, Result<Pdu, Unsigned>> {
        self.ask(via, event).boxed()
    }
}

/// A refusal is what the server says of the event; all else may be different in a while.
fn told(error: PartnerError) -> Unsigned {
    match error {
        PartnerError::Refused { status, errcode, message, .. }
            if matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) && errcode == "M_FORBIDDEN" =>
        {
            let sentence: String = message.chars().filter(|char| !char.is_control()).take(SENTENCE_CHARS_MAX).collect();
            match sentence.trim() {
                "" => Unsigned::Refused("The room's policy server refuses this event.".to_owned()),
                sentence => Unsigned::Refused(sentence.to_owned()),
            }
        }
        PartnerError::Refused { status, errcode, .. } => {
            Unsigned::Unreachable(format!("it answers {} {errcode}", status.as_u16()))
        }
        other => Unsigned::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_failures() {
        let refused = |status: u16, errcode: &str, message: &str| {
            told(PartnerError::Refused {
                status: StatusCode::from_u16(status).unwrap(),
                errcode: errcode.to_owned(),
                message: message.to_owned(),
                body: None,
            })
        };
        assert!(matches!(refused(400, "M_FORBIDDEN", "no\n spam"), Unsigned::Refused(why) if why == "no spam"));
        assert!(matches!(refused(403, "M_FORBIDDEN", ""), Unsigned::Refused(why) if why.contains("refuses")));
        assert!(matches!(refused(400, "M_FORBIDDEN", &"x".repeat(9_999)), Unsigned::Refused(why) if why.len() == 300));
        for (status, errcode) in [(404, "M_UNRECOGNIZED"), (429, "M_LIMIT_EXCEEDED"), (500, ""), (400, "M_BAD_JSON")] {
            assert!(matches!(refused(status, errcode, "x"), Unsigned::Unreachable(_)), "{status}");
        }
        assert!(matches!(told(PartnerError::BackingOff), Unsigned::Unreachable(_)));
    }
}
