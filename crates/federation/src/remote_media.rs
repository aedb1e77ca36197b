//! Media of users of other servers (server-server API, section "Content Repository").
//!
//! A content is fetched once for all who want it, into the content repository, and served from there. How much is
//! fetched at the same time is limited, in all and from one server; a failure is remembered for a little while.

mod multipart;

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header};
use quick_cache::sync::Cache;
use reqwest::Response;
use ruma::http_headers::ContentDisposition;
use tokio::{sync::Semaphore, time::timeout};
use tracing::debug;
use url::Url;
use wardroom_clock::SharedClock;
use wardroom_media::{Content, Media, MediaError, MediaId, Remote, RemoteUpload, WAIT_MAX_MS};
use wardroom_outbound::{Outbound, OutboundSettings};

use self::multipart::{Headers, Multipart, Piece};
use crate::{Limits, PartnerError, PartnerSettings, Partners, Parts, lanes::Lanes};

/// Contents that are fetched at the same time; each holds about half a megabyte of memory.
const FETCHES_MAX: usize = 64;
/// Of those, from one server.
const FETCHES_PER_SERVER_MAX: usize = 8;
/// Wishes that wait meanwhile, those for the same content counted each.
const WAITING_MAX: usize = 2_048;
/// When to try again if too many wait.
const BUSY_RETRY: Duration = Duration::from_secs(2);
/// How long a server may take until it begins to answer, beyond what it waits for an upload.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest silence within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a whole answer may take. 100 MiB in this time are 1.4 Mbit/s.
const FETCH_MAX: Duration = Duration::from_mins(10);
/// Beyond the content itself, an answer in parts has so many bytes at most.
const PARTS_BYTES_MAX: u64 = 128 * 1_024;
/// Longest URL that a server may send this one to, in bytes.
const LOCATION_BYTES_MAX: usize = 4_096;
/// Failures remembered, some 300 bytes each.
const FAILURES_MAX: usize = 4_096;
/// How long it is believed that a media is not there, or too large, in milliseconds.
const ABSENCE_MS: u64 = 60 * 1_000;
/// How long it is believed that a server cannot be reached, in milliseconds.
const FAILURE_MS: u64 = 15 * 1_000;

/// Why another server's media cannot be had. The sentences are for clients.
#[derive(Debug, thiserror::Error)]
pub enum RemoteMediaError {
    /// Its server has no such media, or this server does not speak to that one.
    #[error("There is no such media on that server.")]
    NotFound,
    /// It was announced to its server, and has not been uploaded there.
    #[error("The content has not been uploaded yet.")]
    NotYetUploaded,
    /// It is larger than what is fetched.
    #[error("The content is larger than the {bytes_max} bytes that this server takes from others.")]
    TooLarge {
        /// What is fetched.
        bytes_max: u64,
    },
    /// Its server says that it is too large to be sent.
    #[error("The content is too large for its server.")]
    TooLargeThere,
    /// Its server cannot be reached, or its answer makes no sense.
    #[error("The content could not be fetched from its server.")]
    Failed,
    /// Too much at once; to be tried again.
    #[error("Too much is being fetched from other servers at once.")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The content repository fails.
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// A failure that is believed for a while.
#[derive(Clone, Copy, Debug)]
enum Failure {
    NotFound,
    TooLarge(u64),
    TooLargeThere,
    Failed,
}

/// Media of users of other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RemoteMedia(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    media: Media,
    partners: Partners,
    /// For what servers keep elsewhere.
    outbound: Outbound,
    clock: SharedClock,
    lanes: Lanes,
    fetches: Semaphore,
    waiting: Arc<Semaphore>,
    failures: Cache<MediaId, (Failure, u64)>,
}

/// A client for what servers keep elsewhere: to where this server would connect to them, without redirections.
pub(crate) fn elsewhere(settings: &PartnerSettings) -> Result<Outbound, PartnerError> {
    let settings = OutboundSettings {
        ranges: settings.ranges.clone(),
        extra_ca: settings.extra_ca.clone(),
        verify_certificates: settings.verify_certificates,
        redirects_max: 0,
        timeout: FETCH_MAX,
    };
    Outbound::new(settings).map_err(|error| PartnerError::Setting(error.to_string()))
}

impl RemoteMedia {
    pub(crate) fn new(parts: &Parts, partners: &Partners, outbound: Outbound) -> Self {
        Self(Arc::new(Inner {
            media: parts.media.clone(),
            partners: partners.clone(),
            outbound,
            clock: Arc::clone(&parts.clock),
            lanes: Lanes::new(FETCHES_PER_SERVER_MAX),
            fetches: Semaphore::new(FETCHES_MAX),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            failures: Cache::new(FAILURES_MAX),
        }))
    }

    /// Another server's media, fetched if it is not here; `wait` is how long that server may wait for an upload that was
    /// announced to it.
    ///
    /// # Errors
    /// As [`RemoteMediaError`] says.
    pub async fn content(&self, media: &MediaId, wait: Duration) -> Result<Content, RemoteMediaError> {
        if let Some(content) = self.0.media.remote_now(media).await? {
            return Ok(content);
        }
        if !self.0.partners.admits(media.server()) {
            return Err(RemoteMediaError::NotFound);
        }
        self.0.remembered(media)?;
        let busy = || RemoteMediaError::Busy { retry_after: BUSY_RETRY };
        let place = Arc::clone(&self.0.waiting).try_acquire_owned().map_err(|_| busy())?;
        // A task of its own: once begun it is fetched for whoever asks next, also if this client hangs up.
        let (inner, media) = (Arc::clone(&self.0), media.clone());
        let fetching = async move {
            let _place = place;
            inner.fetch(&media, wait.min(Duration::from_millis(WAIT_MAX_MS))).await
        };
        tokio::spawn(fetching).await.map_err(MediaError::from)?
    }
}

impl Inner {
    async fn fetch(&self, media: &MediaId, wait: Duration) -> Result<Content, RemoteMediaError> {
        let upload = match self.media.remote(media).await? {
            Remote::Here(content) => return Ok(content),
            Remote::ToFetch(upload) => upload,
        };
        // The one before may have failed.
        self.remembered(media)?;
        let _lane = self.lanes.enter(media.server()).await;
        let _fetch = self.fetches.acquire().await.map_err(|_| MediaError::Stopped)?;
        let fetched = timeout(FETCH_MAX, self.download(media, upload, wait)).await;
        let fetched = fetched.unwrap_or(Err(RemoteMediaError::Failed));
        if let Err(error) = &fetched {
            debug!(server = %media.server(), %error, "a media could not be fetched");
            self.remember(media, error);
        }
        fetched
    }

    fn remembered(&self, media: &MediaId) -> Result<(), RemoteMediaError> {
        let Some((failure, until_ms)) = self.failures.get(media) else { return Ok(()) };
        if self.clock.now_ms() >= until_ms {
            return Ok(());
        }
        Err(match failure {
            Failure::NotFound => RemoteMediaError::NotFound,
            Failure::TooLarge(bytes_max) => RemoteMediaError::TooLarge { bytes_max },
            Failure::TooLargeThere => RemoteMediaError::TooLargeThere,
            Failure::Failed => RemoteMediaError::Failed,
        })
    }

    fn remember(&self, media: &MediaId, error: &RemoteMediaError) {
        let (failure, for_ms) = match error {
            RemoteMediaError::NotFound => (Failure::NotFound, ABSENCE_MS),
            RemoteMediaError::TooLarge { bytes_max } => (Failure::TooLarge(*bytes_max), ABSENCE_MS),
            RemoteMediaError::TooLargeThere => (Failure::TooLargeThere, ABSENCE_MS),
            RemoteMediaError::Failed => (Failure::Failed, FAILURE_MS),
            // It may come any moment; a failure of this server says nothing about the media.
            RemoteMediaError::NotYetUploaded | RemoteMediaError::Busy { .. } | RemoteMediaError::Media(_) => return,
        };
        self.failures.insert(media.clone(), (failure, self.clock.now_ms() + for_ms));
    }

    async fn download(
        &self,
        media: &MediaId,
        upload: RemoteUpload,
        wait: Duration,
    ) -> Result<Content, RemoteMediaError> {
        let wait_ms = wait.as_millis();
        let id = media.id();
        let path = format!("/_matrix/federation/v1/media/download/{id}?timeout_ms={wait_ms}");
        match self.ask(media, &path, wait).await? {
            Asked::Answer(response) => self.receive_parts(response, upload).await,
            Asked::Unrecognized => {
                // Servers from before Matrix 1.11 (server-server API, section "Content Repository").
                let server = media.server().as_str().replace('[', "%5B").replace(']', "%5D");
                let path = format!("/_matrix/media/v3/download/{server}/{id}?allow_remote=false&timeout_ms={wait_ms}");
                match self.ask(media, &path, wait).await? {
                    Asked::Answer(response) => receive_whole(response, upload).await,
                    Asked::Unrecognized => Err(RemoteMediaError::NotFound),
                }
            }
        }
    }

    /// Asks the media's server, and tells its errors apart.
    async fn ask(&self, media: &MediaId, path: &str, wait: Duration) -> Result<Asked, RemoteMediaError> {
        // The answer itself is read, and limited, here.
        let limits = Limits { timeout: FETCH_MAX, answer_bytes_max: usize::MAX, ignore_backoff: false };
        let asked = timeout(wait + ANSWER_MAX, self.partners.stream(media.server(), path, limits)).await;
        let response = match asked.map_err(|_| RemoteMediaError::Failed)? {
            Ok(response) => response,
            Err(PartnerError::Refused { status, errcode, .. }) => return refusal(status, &errcode),
            Err(PartnerError::Denied(_)) => return Err(RemoteMediaError::NotFound),
            Err(_) => return Err(RemoteMediaError::Failed),
        };
        match response.status() {
            status if status.is_success() => Ok(Asked::Answer(response)),
            status => refusal(status, ""),
        }
    }

    /// Reads the answer in parts: what is known of the media, which is nothing yet, and the content or where it is.
    async fn receive_parts(
        &self,
        mut response: Response,
        mut upload: RemoteUpload,
    ) -> Result<Content, RemoteMediaError> {
        let content_type = header_text(&response, header::CONTENT_TYPE).unwrap_or_default();
        check_length(&response, &upload, PARTS_BYTES_MAX)?;
        let mut parts = Multipart::new(&content_type).map_err(|_| RemoteMediaError::Failed)?;
        let (mut part, mut told) = (0, Headers::default());
        loop {
            match parts.next().map_err(|_| RemoteMediaError::Failed)? {
                Some(Piece::Part(headers)) => {
                    part += 1;
                    if part == 2 {
                        if let Some(location) = &headers.location {
                            return self.receive_from(location, upload).await;
                        }
                        told = headers;
                    }
                }
                Some(Piece::Body(bytes)) if part == 2 => write(&mut upload, &bytes).await?,
                Some(Piece::PartEnd) if part == 2 => {
                    let filename = told.content_disposition.as_deref().and_then(filename);
                    return Ok(upload.finish(told.content_type.as_deref(), filename.as_deref()).await?);
                }
                Some(Piece::Body(_) | Piece::PartEnd) => {}
                Some(Piece::End) => return Err(RemoteMediaError::Failed),
                None => match next(&mut response).await? {
                    Some(bytes) => parts.push(&bytes),
                    None => parts.complete(),
                },
            }
        }
    }

    /// Reads the content from where its server keeps it. Nothing of this server's goes there, no signature either.
    async fn receive_from(&self, location: &str, upload: RemoteUpload) -> Result<Content, RemoteMediaError> {
        let url = location_url(location).ok_or(RemoteMediaError::Failed)?;
        let request = self.outbound.get(url).map_err(|_| RemoteMediaError::Failed)?;
        let response = timeout(ANSWER_MAX, Outbound::send(request)).await;
        let response = response.map_err(|_| RemoteMediaError::Failed)?.map_err(|_| RemoteMediaError::Failed)?;
        match response.status() {
            status if status.is_success() => receive_whole(response, upload).await,
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(RemoteMediaError::NotFound),
            _ => Err(RemoteMediaError::Failed),
        }
    }
}

/// What a server says to a wish.
enum Asked {
    Answer(Response),
    /// It has no such endpoint.
    Unrecognized,
}

fn refusal(status: StatusCode, errcode: &str) -> Result<Asked, RemoteMediaError> {
    match (status, errcode) {
        (_, "M_UNRECOGNIZED") => Ok(Asked::Unrecognized),
        // Proxies answer so in front of servers that have no such endpoint.
        (StatusCode::NOT_FOUND, "") => Ok(Asked::Unrecognized),
        (_, "M_NOT_YET_UPLOADED") => Err(RemoteMediaError::NotYetUploaded),
        (_, "M_TOO_LARGE") => Err(RemoteMediaError::TooLargeThere),
        (StatusCode::NOT_FOUND, _) => Err(RemoteMediaError::NotFound),
        _ => Err(RemoteMediaError::Failed),
    }
}

/// The place that a server names: with TLS, and without anything secret in it.
fn location_url(location: &str) -> Option<Url> {
    let url = Url::parse(location).ok().filter(|_| location.len() <= LOCATION_BYTES_MAX)?;
    (url.scheme() == "https" && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Reads an answer that is the content itself.
async fn receive_whole(mut response: Response, mut upload: RemoteUpload) -> Result<Content, RemoteMediaError> {
    check_length(&response, &upload, 0)?;
    let content_type = header_text(&response, header::CONTENT_TYPE);
    let disposition = response.headers().get(header::CONTENT_DISPOSITION);
    let filename = disposition.and_then(|value| filename(value.as_bytes()));
    while let Some(bytes) = next(&mut response).await? {
        write(&mut upload, &bytes).await?;
    }
    Ok(upload.finish(content_type.as_deref(), filename.as_deref()).await?)
}

/// Refuses what says of itself that it is too long.
fn check_length(response: &Response, upload: &RemoteUpload, beside: u64) -> Result<(), RemoteMediaError> {
    let bytes_max = upload.bytes_max();
    match response.content_length() {
        Some(length) if length > bytes_max.saturating_add(beside) => Err(RemoteMediaError::TooLarge { bytes_max }),
        _ => Ok(()),
    }
}

async fn next(response: &mut Response) -> Result<Option<bytes::Bytes>, RemoteMediaError> {
    let chunk = timeout(SILENCE_MAX, response.chunk()).await;
    chunk.map_err(|_| RemoteMediaError::Failed)?.map_err(|_| RemoteMediaError::Failed)
}

async fn write(upload: &mut RemoteUpload, bytes: &[u8]) -> Result<(), RemoteMediaError> {
    upload.write(bytes).await.map_err(|error| match error {
        MediaError::RemoteTooLarge { bytes_max } => RemoteMediaError::TooLarge { bytes_max },
        other => other.into(),
    })
}

fn header_text(response: &Response, name: header::HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The name that a header `Content-Disposition` gives.
fn filename(disposition: &[u8]) -> Option<String> {
    ContentDisposition::try_from(disposition).ok()?.filename
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let told = |status: u16, errcode: &str| refusal(StatusCode::from_u16(status).unwrap(), errcode);
        assert!(matches!(told(404, "M_UNRECOGNIZED"), Ok(Asked::Unrecognized)));
        assert!(matches!(told(400, "M_UNRECOGNIZED"), Ok(Asked::Unrecognized)));
        assert!(matches!(told(404, ""), Ok(Asked::Unrecognized)));
        assert!(matches!(told(404, "M_NOT_FOUND"), Err(RemoteMediaError::NotFound)));
        assert!(matches!(told(504, "M_NOT_YET_UPLOADED"), Err(RemoteMediaError::NotYetUploaded)));
        assert!(matches!(told(502, "M_TOO_LARGE"), Err(RemoteMediaError::TooLargeThere)));
        assert!(matches!(told(500, ""), Err(RemoteMediaError::Failed)));
        assert!(matches!(told(403, "M_FORBIDDEN"), Err(RemoteMediaError::Failed)));
    }

    #[test]
    fn places_have_tls_and_hold_no_password() {
        assert!(location_url("https://cdn.example/a?b=c").is_some());
        for bad in ["http://cdn.example/", "https://a:b@cdn.example/", "file:///etc/passwd", "/a", ""] {
            assert!(location_url(bad).is_none(), "{bad}");
        }
        assert!(location_url(&format!("https://cdn.example/{}", "a".repeat(LOCATION_BYTES_MAX))).is_none());
    }

    #[test]
    fn names_are_read_from_both_forms() {
        assert_eq!(filename(b"inline; filename=\"a b.txt\"").as_deref(), Some("a b.txt"));
        assert_eq!(
            filename(b"attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt").as_deref(),
            Some("Gr\u{fc}\u{df}e.txt")
        );
        assert_eq!(filename(b"attachment"), None);
        assert_eq!(filename(b"\xff\xfe"), None);
    }
}
