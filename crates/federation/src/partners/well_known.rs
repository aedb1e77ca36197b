//! Delegation by `/.well-known/matrix/server`, with the specification's rules of caching.

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, DATE, EXPIRES},
};
use quick_cache::sync::Cache;
use reqwest::{Client, redirect::Policy};
use ruma::OwnedServerName;
use serde::Deserialize;
use wardroom_clock::SharedClock;
use wardroom_outbound::Ranges;

use super::{http_date, tls};

/// Largest document that is read.
const DOCUMENT_BYTES_MAX: usize = 50 * 1024;
/// Time for the whole request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Redirections that are followed.
const REDIRECTS_MAX: usize = 5;
/// Hosts remembered.
const HOSTS_MAX: usize = 10_000;

/// How long a delegation holds that does not say it.
const DEFAULT_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long it holds at most.
const LONGEST_MS: u64 = 48 * 60 * 60 * 1_000;
/// How long it holds at least: who asks for less wants a request before each request.
const SHORTEST_MS: u64 = 60 * 1_000;
/// How long a first failure is remembered; each further one twice as long, up to [`FAILURE_LONGEST_MS`].
const FAILURE_MS: u64 = 60 * 1_000;
/// How long a failure is remembered at most.
const FAILURE_LONGEST_MS: u64 = 60 * 60 * 1_000;

#[derive(Clone)]
struct Remembered {
    result: Result<OwnedServerName, String>,
    until_ms: u64,
    failures: u32,
    /// The last delegation that was read, and until when it may stand in for one that cannot be.
    good: Option<(OwnedServerName, u64)>,
}

/// Reads and remembers delegations.
pub(crate) struct WellKnown {
    client: Client,
    clock: SharedClock,
    ranges: Arc<Ranges>,
    hosts: Cache<String, Arc<Remembered>>,
}

impl fmt::Debug for WellKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WellKnown").field("hosts", &self.hosts.len()).finish_non_exhaustive()
    }
}

impl WellKnown {
    pub(crate) fn new(
        builder: reqwest::ClientBuilder,
        ranges: Arc<Ranges>,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let client = builder.timeout(TIMEOUT).redirect(redirects(Arc::clone(&ranges))).build()?;
        Ok(Self { client, clock, ranges, hosts: Cache::new(HOSTS_MAX) })
    }

    /// Where a host delegates to, as remembered or read now.
    pub(crate) async fn of(&self, host: &str) -> Result<OwnedServerName, String> {
        let now_ms = self.clock.now_ms();
        let before = self.hosts.get(host);
        if let Some(remembered) = before.as_deref().filter(|remembered| remembered.until_ms > now_ms) {
            return remembered.result.clone();
        }
        let read = self.read(host).await;
        let remembered = remember(read, before.as_deref(), now_ms);
        let result = remembered.result.clone();
        self.hosts.insert(host.to_owned(), Arc::new(remembered));
        result
    }

    /// Reads a delegation, and for how many milliseconds it holds.
    pub(crate) async fn read(&self, host: &str) -> Result<(OwnedServerName, u64), String> {
        let url = format!("https://{host}/.well-known/matrix/server");
        let url: reqwest::Url = url.parse().map_err(|_| "the name makes no URL".to_owned())?;
        if !admitted(&self.ranges, &url) {
            return Err("its address is in a refused range".to_owned());
        }
        let mut answer = self.client.get(url).send().await.map_err(|error| tls::sentence(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| tls::sentence(&error))? {
            if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(format!("it is longer than {DOCUMENT_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((delegated(&body)?, lifetime_ms(answer.headers())))
    }
}

/// The server that a document names.
fn delegated(body: &[u8]) -> Result<OwnedServerName, String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "m.server")]
        server: OwnedServerName,
    }
    let document: Document = serde_json::from_slice(body).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(document.server)
}

fn remember(read: Result<(OwnedServerName, u64), String>, before: Option<&Remembered>, now_ms: u64) -> Remembered {
    match read {
        Ok((server, lifetime_ms)) => Remembered {
            result: Ok(server.clone()),
            until_ms: now_ms.saturating_add(lifetime_ms),
            failures: 0,
            good: Some((server, now_ms.saturating_add(LONGEST_MS))),
        },
        Err(reason) => {
            let failures = before.map_or(0, |before| before.failures);
            let wait_ms = FAILURE_MS.saturating_mul(1 << failures.min(10)).min(FAILURE_LONGEST_MS);
            // A server whose web site is down is still where it was.
            let good = before.and_then(|before| before.good.clone()).filter(|(_, until_ms)| *until_ms > now_ms);
            Remembered {
                result: good.as_ref().map_or(Err(reason), |(server, _)| Ok(server.clone())),
                until_ms: now_ms.saturating_add(wait_ms),
                failures: failures.saturating_add(1),
                good,
            }
        }
    }
}

/// How long an answer may be kept: `max-age` of `Cache-Control`, else `Expires`, else a day; within bounds.
fn lifetime_ms(headers: &HeaderMap) -> u64 {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let directives = text(CACHE_CONTROL).unwrap_or_default().to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    let seconds = directives.find_map(|directive| match directive {
        "no-store" | "no-cache" => Some(0),
        _ => directive.strip_prefix("max-age=")?.trim_matches('"').parse::<u64>().ok(),
    });
    let ms = seconds.map(|seconds| seconds.saturating_mul(1_000)).or_else(|| {
        let expires = http_date::unix_seconds(text(EXPIRES)?)?;
        let date = http_date::unix_seconds(text(DATE)?)?;
        Some(expires.saturating_sub(date).saturating_mul(1_000))
    });
    ms.unwrap_or(DEFAULT_MS).clamp(SHORTEST_MS, LONGEST_MS)
}

/// Whether a URL may be asked, as far as it shows: https, and no address in a refused range.
fn admitted(ranges: &Ranges, url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    url.scheme() == "https" && host.parse().map_or(!host.is_empty(), |address| ranges.admit(address))
}

fn redirects(ranges: Arc<Ranges>) -> Policy {
    Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("too many redirections")
        } else if admitted(&ranges, attempt.url()) {
            attempt.follow()
        } else {
            attempt.error("it redirects to where this server does not connect")
        }
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn lifetime(pairs: &[(&'static str, &'static str)]) -> u64 {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        lifetime_ms(&headers) / 1_000
    }

    #[test]
    fn answers_are_kept_as_long_as_they_say_within_bounds() {
        assert_eq!(lifetime(&[]), 24 * 3_600);
        assert_eq!(lifetime(&[("cache-control", "public, max-age=7200")]), 7_200);
        assert_eq!(lifetime(&[("cache-control", "max-age=99999999")]), 48 * 3_600);
        assert_eq!(lifetime(&[("cache-control", "no-store")]), 60);
        assert_eq!(lifetime(&[("cache-control", "max-age=junk")]), 24 * 3_600);
        let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
        assert_eq!(lifetime(&[date, ("expires", "Tue, 15 Nov 1994 09:12:31 GMT")]), 3_600);
        assert_eq!(lifetime(&[date, ("expires", "0")]), 24 * 3_600);
        assert_eq!(lifetime(&[date, ("expires", "Tue, 15 Nov 1990 09:12:31 GMT")]), 60);
    }

    #[test]
    fn failures_are_remembered_ever_longer_and_a_good_delegation_outlives_them() {
        let server = OwnedServerName::try_from("m.example").unwrap();
        let failed = || Err("404".to_owned());
        let mut remembered = remember(failed(), None, 0);
        for _ in 0..20 {
            remembered = remember(failed(), Some(&remembered), 0);
        }
        assert_eq!(remembered.until_ms, FAILURE_LONGEST_MS);
        let good = remember(Ok((server.clone(), 1_000)), Some(&remembered), 0);
        let later = remember(failed(), Some(&good), 2_000);
        assert_eq!(later.result, Ok(server));
        assert!(remember(failed(), Some(&later), LONGEST_MS + 1).result.is_err());
    }

    #[test]
    fn documents_name_a_server_or_are_refused() {
        assert_eq!(delegated(br#"{"m.server":"a.example:1","x":1}"#).unwrap(), "a.example:1");
        for bad in [&b""[..], b"[]", b"{}", br#"{"m.server":""}"#, br#"{"m.server":"a b"}"#, br#"{"m.server":7}"#] {
            assert!(delegated(bad).is_err());
        }
    }
}
