//! FHIR resources over HTTPS (IHE ITI-20, ATX: FHIR Feed).

use std::{convert::Infallible, io, path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{io::AsyncReadExt as _, time::sleep};
use url::Url;
use wardroom_audit::Entry;
use wardroom_outbound::{Outbound, OutboundSettings, Ranges};

use super::{Feed, FeedError};
use crate::AuditEvent;

/// Time for a request, its answer included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// What is read of an answer at most, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How often a follower looks whether there are records, if nobody says so.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1_024;

/// A destination of FHIR resources.
#[derive(Clone, Debug)]
pub struct FhirFeed {
    /// Its base, such as `https://arr.example/fhir`.
    pub url: Url,
    /// A file with a token that goes with every request, read each time.
    pub token_file: Option<PathBuf>,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// Records in one request: 1 sends an `AuditEvent` by itself, more a `Bundle`.
    pub batch_records: usize,
}

pub(super) struct FhirSender {
    outbound: Outbound,
    /// Where bundles go.
    base: Url,
    /// Where single resources go.
    resource: Url,
    token_file: Option<PathBuf>,
    batch_records: usize,
}

impl FhirSender {
    pub(super) fn new(feed: FhirFeed) -> Result<Self, FeedError> {
        let FhirFeed { url, token_file, extra_ca, batch_records } = feed;
        let setting = |error: &dyn std::error::Error| FeedError::Setting("url", error.to_string());
        let base = url.as_str().trim_end_matches('/');
        let base = Url::parse(base).map_err(|error| setting(&error))?;
        let resource = Url::parse(&format!("{}/AuditEvent", base.as_str().trim_end_matches('/')));
        let resource = resource.map_err(|error| setting(&error))?;
        let outbound = Outbound::new(OutboundSettings {
            ranges: Ranges::new(Vec::new(), Vec::new()),
            extra_ca,
            verify_certificates: true,
            redirects_max: 0,
            timeout: REQUEST_LIMIT,
        })?;
        Ok(Self { outbound, base, resource, token_file, batch_records: batch_records.max(1) })
    }

    /// Sends what comes, until something fails.
    pub(super) async fn follow(&self, feed: &Feed, mut next: u64) -> Result<Infallible, FeedError> {
        loop {
            let mut news = feed.news();
            let page = feed.page(next, self.batch_records).await?;
            if page.is_empty() {
                tokio::select! {
                    () = news.changed() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
                continue;
            }
            let (taken, refused) = self.send(&page, &feed.parts.server_name).await?;
            if let Some(last) = page.get(..taken).and_then(<[Entry]>::last) {
                next = last.number.saturating_add(1);
                feed.advance(next).await?;
                feed.succeeded();
            }
            if let Some(status) = refused {
                return Err(FeedError::Refused(status));
            }
        }
    }

    /// Sends records. How many of them, from the first on, were taken, and what was said of the one after these.
    async fn send(&self, page: &[Entry], server_name: &str) -> Result<(usize, Option<String>), FeedError> {
        let resource = |entry: &Entry| AuditEvent::of(&entry.record, server_name).to_json();
        let (url, body) = match page {
            [one] if self.batch_records == 1 => (&self.resource, resource(one)),
            all => (&self.base, bundle(all.iter().map(resource))),
        };
        let mut request = self.outbound.post(url.clone())?.header("content-type", "application/fhir+json").body(body);
        request = request.header("accept", "application/fhir+json");
        if let Some(token) = self.token().await? {
            request = request.bearer_auth(token);
        }
        let response = Outbound::send(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Ok((0, Some(status.as_u16().to_string())));
        }
        let answer = Outbound::read(response, ANSWER_BYTES_MAX).await?;
        Ok(taken(&answer, page.len()))
    }

    async fn token(&self) -> Result<Option<String>, FeedError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let unreadable = |error: io::Error| FeedError::Setting("token_file", error.to_string());
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let mut token = String::new();
        file.take(TOKEN_BYTES_MAX).read_to_string(&mut token).await.map_err(unreadable)?;
        Ok(Some(token.trim().to_owned()))
    }
}

/// A `Bundle` of type `batch` that creates each resource.
fn bundle(resources: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = resources
        .map(|resource| format!(r#"{{"resource":{resource},"request":{{"method":"POST","url":"AuditEvent"}}}}"#))
        .collect();
    format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#, entries.join(","))
}

/// How many resources of a bundle were taken before the first that was not, and what was said of that. A success that says
/// nothing of each is one of all.
fn taken(answer: &[u8], sent: usize) -> (usize, Option<String>) {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        entry: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Said {
        response: Response,
    }
    #[derive(Deserialize)]
    struct Response {
        status: String,
    }
    let Ok(Answer { entry }) = serde_json::from_slice(answer) else { return (sent, None) };
    if entry.len() != sent {
        return (sent, None);
    }
    for (index, said) in entry.into_iter().enumerate() {
        let status = serde_json::from_str::<Said>(said.get()).map(|said| said.response.status).unwrap_or_default();
        if !status.starts_with('2') {
            return (index, Some(status.chars().take(3).collect()));
        }
    }
    (sent, None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{bundle, taken};

    #[test]
    fn a_bundle_creates_each() {
        let made: Value = serde_json::from_str(&bundle(["{\"a\":1}".to_owned(), "{}".to_owned()].into_iter())).unwrap();
        assert_eq!(made["type"], "batch");
        assert_eq!(
            made["entry"][0],
            json!({ "resource": { "a": 1 }, "request": { "method": "POST", "url": "AuditEvent" } })
        );
        assert_eq!(made["entry"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_was_taken_ends_before_the_first_that_was_not() {
        let said = |statuses: &[&str]| {
            let entries: Vec<Value> =
                statuses.iter().map(|status| json!({ "response": { "status": status } })).collect();
            json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entries }).to_string()
        };
        let of = |statuses: &[&str]| taken(said(statuses).as_bytes(), 3);
        assert_eq!(of(&["201 Created", "201", "200 OK"]), (3, None));
        assert_eq!(of(&["201", "422 Unprocessable", "201"]), (1, Some("422".to_owned())));
        assert_eq!(of(&["400", "201", "201"]), (0, Some("400".to_owned())));
        for silent in ["", "{}", "[]", "{\"entry\":[]}", "\u{0}"] {
            assert_eq!(taken(silent.as_bytes(), 3), (3, None), "{silent}");
        }
        assert_eq!(taken(b"{\"entry\":[1,2,3]}", 3), (0, Some(String::new())));
    }
}
