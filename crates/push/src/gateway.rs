//! Push gateways: where they may be, and how they are told something.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wardroom_outbound::{Outbound, OutboundError, OutboundSettings};

use crate::{PushError, Settings};

/// The path of every gateway (specification, `data.url`).
const PATH: &str = "/_matrix/push/v1/notify";
/// Longest URL of a gateway, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Time for a whole request to a gateway.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// What a gateway answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It took the notification, and rejects these push keys for good.
    Taken {
        /// Keys that are no more.
        rejected: Vec<String>,
    },
    /// It will never take this notification.
    Refused,
    /// It did not take it now; not before so many milliseconds should it be asked again.
    Failed {
        /// What it asks for, if anything.
        retry_after_ms: Option<u64>,
    },
}

/// Speaks to gateways.
#[derive(Clone, Debug)]
pub(crate) struct Gateways {
    outbound: Outbound,
    allow_http: bool,
}

impl Gateways {
    pub(crate) fn new(settings: &Settings) -> Result<Self, PushError> {
        let outbound = Outbound::new(OutboundSettings {
            ranges: settings.ranges.clone(),
            extra_ca: settings.extra_ca.clone(),
            verify_certificates: true,
            redirects_max: 0,
            timeout: TIMEOUT,
        });
        Ok(Self { outbound: outbound.map_err(PushError::Outbound)?, allow_http: settings.allow_http })
    }

    /// The URL in a pusher's `data.url`, if it is one that this server tells something.
    ///
    /// # Errors
    /// [`PushError::Invalid`] says what is wrong with it.
    pub(crate) async fn check(&self, url: &str) -> Result<Url, PushError> {
        let url = self.parse(url)?;
        match self.outbound.admits(&url).await {
            Err(OutboundError::Refused) => Err(invalid("this server does not connect to addresses in that range")),
            Err(OutboundError::NotWeb) => Err(invalid("must be the https URL of a push gateway")),
            // A gateway that cannot be found now may be found later.
            _ => Ok(url),
        }
    }

    fn parse(&self, url: &str) -> Result<Url, PushError> {
        if url.len() > URL_BYTES_MAX {
            return Err(invalid("must be at most 2048 bytes long"));
        }
        let url = Url::parse(url).map_err(|_| invalid("must be a URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(invalid("must be an https URL")),
        }
        if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must name a host, and no user"));
        }
        if url.path() != PATH {
            return Err(invalid("must have the path /_matrix/push/v1/notify"));
        }
        Ok(url)
    }

    /// Tells a gateway something.
    pub(crate) async fn tell(&self, url: &str, notification: &Value) -> Answer {
        let failed = Answer::Failed { retry_after_ms: None };
        let Ok(url) = self.parse(url) else { return Answer::Refused };
        let Ok(body) = serde_json::to_vec(&serde_json::json!({ "notification": notification })) else {
            return Answer::Refused;
        };
        let Ok(request) = self.outbound.post(url) else { return failed };
        let request = request.header("content-type", "application/json").body(body);
        let Ok(response) = Outbound::send(request).await else { return failed };
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after_s = retry_after.and_then(|value| value.trim().parse::<u64>().ok());
            // What is malformed or too large for a gateway will be so tomorrow.
            return match status {
                400 | 413 | 422 => Answer::Refused,
                _ => Answer::Failed { retry_after_ms: retry_after_s.map(|seconds| seconds.saturating_mul(1_000)) },
            };
        }
        match Outbound::read(response, ANSWER_BYTES_MAX).await {
            Ok(answer) => Answer::Taken { rejected: rejected(&answer) },
            Err(_) => failed,
        }
    }
}

/// The push keys that an answer rejects. Gateways that answer something else have taken the notification all the same.
fn rejected(answer: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        rejected: Vec<String>,
    }
    serde_json::from_slice::<Body>(answer).map(|body| body.rejected).unwrap_or_default()
}

fn invalid(problem: &'static str) -> PushError {
    PushError::Invalid { field: "data.url", problem }
}

#[cfg(test)]
mod tests {
    use wardroom_outbound::Ranges;

    use super::{Gateways, rejected};
    use crate::{PushError, Settings};

    fn gateways(allow_http: bool, allow: &[&str]) -> Gateways {
        let parse = |ranges: &[&str]| ranges.iter().map(|range| range.parse().unwrap()).collect();
        let ranges = Ranges::new(parse(&["127.0.0.0/8", "10.0.0.0/8", "::1/128"]), parse(allow));
        Gateways::new(&Settings { ranges, allow_http, ..Settings::default() }).unwrap()
    }

    #[tokio::test]
    async fn only_gateways_outside_are_admitted() {
        let closed = gateways(false, &[]);
        for (url, word) in [
            ("", "URL"),
            ("gateway", "URL"),
            ("http://192.0.2.1/_matrix/push/v1/notify", "https"),
            ("ftp://192.0.2.1/_matrix/push/v1/notify", "https"),
            ("https://192.0.2.1/", "path"),
            ("https://192.0.2.1/_matrix/push/v1/notify/", "path"),
            ("https://me:secret@192.0.2.1/_matrix/push/v1/notify", "user"),
            ("https://127.0.0.1/_matrix/push/v1/notify", "range"),
            ("https://[::1]/_matrix/push/v1/notify", "range"),
            ("https://10.1.2.3:8443/_matrix/push/v1/notify", "range"),
            ("https://localhost/_matrix/push/v1/notify", "range"),
        ] {
            match closed.check(url).await {
                Err(PushError::Invalid { field: "data.url", problem }) => {
                    assert!(problem.contains(word), "{url}: {problem}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
        assert!(closed.check(&format!("https://192.0.2.1/{}", "x".repeat(3_000))).await.is_err());
        assert!(closed.check("https://192.0.2.1/_matrix/push/v1/notify?token=1").await.is_ok());
        assert!(
            closed.check("https://nowhere.invalid/_matrix/push/v1/notify").await.is_ok(),
            "it may be there tomorrow"
        );
        let open = gateways(true, &["127.0.0.0/8"]);
        assert!(open.check("http://127.0.0.1:9/_matrix/push/v1/notify").await.is_ok());
    }

    #[test]
    fn answers_that_are_none_reject_nothing() {
        assert_eq!(rejected(br#"{"rejected":["a"]}"#), ["a"]);
        for answer in [&b"{}"[..], b"", b"ok", br#"{"rejected":[1]}"#, br#"{"rejected":null}"#] {
            assert!(rejected(answer).is_empty());
        }
    }
}
