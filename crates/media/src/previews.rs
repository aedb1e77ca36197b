//! Previews of pages (client-server API, `GET /_matrix/client/v1/media/preview_url`).
//!
//! The addresses come from users, so everything goes through [`Outbound`], which refuses the ranges of the hospital's
//! own network at the moment of connecting, and nothing of an answer is trusted.

mod charset;
mod globs;
mod page;

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;
use wardroom_outbound::{Outbound, OutboundError};
use wardroom_store::Hash16;

use self::{globs::Glob, page::Page};
use crate::{
    Media, MediaError,
    keyed_locks::KeyedLocks,
    tables::{ContentRow, Origin, domain},
    thumbnails::inspect,
    upload::Target,
};

/// How long a preview is good, in seconds.
pub const PREVIEW_SECONDS: u64 = 60 * 60;
/// How long a failure is remembered, in milliseconds.
const FAILURE_MS: u64 = 5 * 60 * 1_000;
/// How long the image of a preview is kept, in milliseconds: clients show it from the answer that they have.
const IMAGE_LIFE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Previews remembered, at most some kilobytes each.
const PREVIEWS_MAX: usize = 1_000;
/// Pages that are read at the same time.
const FETCHES_MAX: usize = 8;
/// Wishes for other pages that wait meanwhile.
const WAITING_MAX: usize = 64;
/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// How much of a page is read, in bytes. What describes it stands at its beginning.
const PAGE_BYTES_MAX: usize = 512 * 1_024;
/// Largest image that is taken, in bytes.
const IMAGE_BYTES_MAX: usize = 8 << 20;
/// When to try again if too many wait.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// The user who owns the images of previews: nobody. Users' numbers start at 1.
const NOBODY: u64 = 0;

/// What an operator decides about previews.
#[derive(Clone, Debug, Default)]
pub struct PreviewSettings {
    /// Addresses of which no previews are made, with `*` for any number of characters and `?` for one; compared with
    /// the whole URL and with its host.
    pub deny: Vec<String>,
}

/// Makes previews.
#[derive(Debug)]
pub(crate) struct Previews {
    outbound: Outbound,
    deny: Vec<Glob>,
    known: Cache<Hash16, Known>,
    making: KeyedLocks<Hash16>,
    fetches: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// What is remembered of an address.
#[derive(Clone, Debug)]
enum Known {
    /// A preview, as JSON, and until when it is good.
    Page(Arc<str>, u64),
    /// Why there is none, and until when that is believed.
    Failed(&'static str, u64),
    /// None is made, and until when that is believed.
    Refused(u64),
}

impl Previews {
    pub(crate) fn new(outbound: Outbound, settings: &PreviewSettings) -> Self {
        Self {
            outbound,
            deny: settings.deny.iter().map(|glob| Glob::new(glob)).collect(),
            known: Cache::new(PREVIEWS_MAX),
            making: KeyedLocks::default(),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            places: Arc::new(Semaphore::new(FETCHES_MAX + WAITING_MAX)),
        }
    }

    /// Whether previews of an address are made, as far as it says itself.
    fn check(&self, url: &Url) -> Result<(), MediaError> {
        let host = url.host_str().unwrap_or_default();
        if self.deny.iter().any(|glob| glob.matches(url.as_str()) || glob.matches(host)) {
            return Err(MediaError::RefusedUrl);
        }
        self.outbound.check(url).map_err(told)
    }

    fn known(&self, key: &Hash16, now_ms: u64) -> Option<Result<Arc<str>, MediaError>> {
        match self.known.get(key)? {
            Known::Page(json, until_ms) => (now_ms < until_ms).then_some(Ok(json)),
            Known::Failed(why, until_ms) => (now_ms < until_ms).then_some(Err(MediaError::Unreachable(why))),
            Known::Refused(until_ms) => (now_ms < until_ms).then_some(Err(MediaError::RefusedUrl)),
        }
    }

    /// Forgets what is not good any more: nothing that a page said stays longer for being asked for by nobody.
    pub(crate) fn forget(&self, now_ms: u64) {
        self.known.retain(|_, known| {
            let (Known::Page(_, until_ms) | Known::Failed(_, until_ms) | Known::Refused(until_ms)) = known;
            now_ms < *until_ms
        });
    }

    /// How much is remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.known.len()
    }

    fn remember(&self, key: Hash16, outcome: &Result<Arc<str>, MediaError>, now_ms: u64) {
        let known = match outcome {
            Ok(json) => Known::Page(Arc::clone(json), now_ms + PREVIEW_SECONDS * 1_000),
            Err(MediaError::Unreachable(why)) => Known::Failed(why, now_ms + FAILURE_MS),
            Err(MediaError::RefusedUrl) => Known::Refused(now_ms + FAILURE_MS),
            // A failure of this server says nothing about the page.
            Err(_) => return,
        };
        self.known.insert(key, known);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn told(error: OutboundError) -> MediaError {
    match error {
        OutboundError::Refused => MediaError::RefusedUrl,
        OutboundError::NotWeb => MediaError::InvalidUrl("it must begin with http:// or https:// and name a host."),
        OutboundError::TooLong(_) => MediaError::Unreachable("it is too long"),
        OutboundError::Failed(_) => MediaError::Unreachable("there was no answer"),
    }
}

fn parse(text: &str) -> Result<Url, MediaError> {
    if text.len() > URL_BYTES_MAX {
        return Err(MediaError::InvalidUrl("it is longer than 2048 bytes."));
    }
    let mut url = Url::parse(text).map_err(|_| MediaError::InvalidUrl("this is no URL."))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(MediaError::InvalidUrl("it must not contain a user name or a password."));
    }
    // Where on the page makes no difference.
    url.set_fragment(None);
    Ok(url)
}

impl Media {
    /// The preview of a page: a JSON object of Open Graph properties, with images put into this repository.
    ///
    /// # Errors
    /// `PreviewsOff`, `InvalidUrl`, `RefusedUrl` for addresses that this server does not ask, `Unreachable`, or `Busy`.
    pub async fn preview(&self, url: &str) -> Result<Arc<str>, MediaError> {
        let previews = self.0.previews.as_ref().ok_or(MediaError::PreviewsOff)?;
        let url = parse(url)?;
        previews.check(&url)?;
        let key = self.0.store.keyed_hash(domain::PREVIEW, url.as_str().as_bytes());
        if let Some(known) = previews.known(&key, self.0.clock.now_ms()) {
            return known;
        }
        let busy = || MediaError::Busy { retry_after: BUSY_RETRY };
        let place = previews.places.clone().try_acquire_owned().map_err(|_| busy())?;
        // A task of its own: who asks next gets what this one began.
        let media = self.clone();
        let making = async move {
            let _place = place;
            let previews = media.0.previews.as_ref().ok_or(MediaError::PreviewsOff)?;
            let _making = previews.making.lock(&key).await;
            if let Some(known) = previews.known(&key, media.0.clock.now_ms()) {
                return known;
            }
            let _fetch = previews.fetches.acquire().await.map_err(|_| MediaError::Stopped)?;
            let outcome = media.make_preview(previews, url).await;
            previews.remember(key, &outcome, media.0.clock.now_ms());
            outcome
        };
        tokio::spawn(wardroom_audit::origin::carry(making)).await?
    }

    async fn make_preview(&self, previews: &Previews, url: Url) -> Result<Arc<str>, MediaError> {
        let answer = previews.fetch(url, PAGE_BYTES_MAX, IMAGE_BYTES_MAX).await?;
        let mut properties = Map::new();
        if answer.is_image() {
            self.put_image(&mut properties, answer).await?;
        } else if answer.is_page() {
            let Fetched { url, content_type, bytes, .. } = answer;
            let read = move || {
                let text = charset::decode(&bytes, content_type.as_deref());
                page::guarded(&text, &url)
            };
            let Page { properties: found, image } = tokio::task::spawn_blocking(read).await?;
            properties = found;
            if let Some(image) = image {
                self.put_image_of(previews, &mut properties, image).await?;
            }
        }
        Ok(Value::Object(properties).to_string().into())
    }

    /// The image that a page names; a page whose image cannot be had is shown without one.
    async fn put_image_of(
        &self,
        previews: &Previews,
        properties: &mut Map<String, Value>,
        image: Url,
    ) -> Result<(), MediaError> {
        if previews.check(&image).is_err() {
            return Ok(());
        }
        match previews.fetch(image, 0, IMAGE_BYTES_MAX).await {
            Ok(answer) if answer.is_image() => self.put_image(properties, answer).await,
            Ok(_) | Err(MediaError::Unreachable(_) | MediaError::RefusedUrl | MediaError::InvalidUrl(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores an image and describes it; nothing if it is none.
    async fn put_image(&self, properties: &mut Map<String, Value>, answer: Fetched) -> Result<(), MediaError> {
        let bytes = answer.bytes;
        let (head, bytes) = tokio::task::spawn_blocking(move || (inspect(&bytes), bytes)).await?;
        let Ok(head) = head else { return Ok(()) };
        let mut writer = self.new_file().await?;
        writer.write(&bytes).await?;
        let file = writer.finish(&self.0.keys).await?;
        let (media, mut row) = self.new_media(NOBODY, Origin::Preview);
        row.expires_ms = Some(row.created_ms + IMAGE_LIFE_MS);
        let content_type = head.content_type().to_owned();
        let content = ContentRow { blob: file.row().clone(), content_type: content_type.clone(), filename: None };
        let uri = media.uri();
        self.commit_content(NOBODY, &Target::New(media, row), content, file).await?;
        properties.insert("og:image".to_owned(), uri.into());
        properties.insert("og:image:type".to_owned(), content_type.into());
        properties.insert("og:image:width".to_owned(), head.width.into());
        properties.insert("og:image:height".to_owned(), head.height.into());
        properties.insert("matrix:image:size".to_owned(), bytes.len().into());
        Ok(())
    }
}

/// An answer of somebody's web server.
struct Fetched {
    /// Where the redirections led.
    url: Url,
    content_type: Option<String>,
    bytes: Vec<u8>,
}

impl Fetched {
    fn essence(&self) -> String {
        let essence = self.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    fn is_image(&self) -> bool {
        self.essence().starts_with("image/")
    }

    fn is_page(&self) -> bool {
        matches!(self.essence().as_str(), "text/html" | "application/xhtml+xml")
    }
}

impl Previews {
    /// Asks for a page or an image: of a page the beginning is read, an image must not be longer than it may be.
    async fn fetch(&self, url: Url, page_bytes_max: usize, image_bytes_max: usize) -> Result<Fetched, MediaError> {
        let request = self.outbound.get(url).map_err(told)?;
        let request = request.header("accept", "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.5");
        let mut response = Outbound::send(request).await.map_err(told)?;
        if !response.status().is_success() {
            return Err(MediaError::Unreachable("its server answers with an error"));
        }
        // Redirections may lead to what is denied by name.
        self.check(response.url())?;
        let header = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let mut answer =
            Fetched { url: response.url().clone(), content_type: header.map(str::to_owned), bytes: Vec::new() };
        let is_image = answer.is_image();
        let bytes_max = if is_image { image_bytes_max } else { page_bytes_max };
        if !is_image && !answer.is_page() {
            return Ok(answer);
        }
        while let Some(chunk) = response.chunk().await.map_err(|_| MediaError::Unreachable("the answer broke off"))? {
            let room = bytes_max - answer.bytes.len();
            if chunk.len() > room {
                if is_image {
                    return Err(MediaError::Unreachable("it is too long"));
                }
                answer.bytes.extend_from_slice(&chunk[..room]);
                break;
            }
            answer.bytes.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}
