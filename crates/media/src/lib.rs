//! The content repository: what users upload, thumbnails of it, and previews of pages (client-server API, section
//! "Content repository").
//!
//! Contents lie in files of a directory beside the store, one file each; what is known about them lies in the store.
//! Invariants:
//!
//! - *Nothing readable at rest*: a file is sealed with a key of its own (AES-256-GCM, chunk by chunk), which a row of the
//!   store holds, sealed with a data key of the media's own. File names are random.
//! - *Deleted means unreadable everywhere*: the data key is destroyed soon after, so no copy of the database or of the
//!   files shows the media any more (`keys.rs`).
//! - *Acknowledged means durable*: the file is complete and on stable storage before the row that names it is
//!   committed. A crash leaves at most a file that no row names, which [`Media::run_upkeep`] removes.
//! - *Memory does not grow with a file*: contents stream in both directions, a few chunks at a time.
//! - *Hostile content is somebody else's problem*: images and pages are parsed within limits of size, memory and
//!   concurrency, on threads where a panic ends the one request.
//!
//! Media of other servers are kept here too, for as long as somebody looks at them now and then; fetching them is for
//! `federation`.
//!
//! Deliberately absent: deduplication (equal contents of two users would tell one about the other), and any knowledge
//! of rooms.

mod administration;
mod blobs;
mod content;
mod ending;
mod error;
mod holds;
mod keyed_locks;
mod keys;
mod media_id;
mod moderation;
mod previews;
mod random;
mod remote;
mod seal;
mod service;
mod tables;
#[cfg(test)]
mod tests;
mod thumbnails;
mod upkeep;
mod upload;

pub use self::{
    administration::{MEDIA_LISTED_MAX, Usage},
    content::{Content, ContentStream, WAIT_DEFAULT_MS, WAIT_MAX_MS},
    ending::{AgeOf, Aged, AgedCursor},
    error::MediaError,
    media_id::{InvalidMediaId, MediaId, UserNid},
    moderation::MediaInfo,
    previews::{PREVIEW_SECONDS, PreviewSettings},
    remote::{Remote, RemoteUpload},
    service::{Media, Settings, Totals},
    tables::TABLES,
    thumbnails::{Method, Size, THUMBNAIL_SIZES_DEFAULT, Thumbnail},
    upload::{
        FILENAME_CHARS_MAX, PENDING_LIFE_MS, PENDING_PER_USER_MAX, UPLOADS_MAX, UPLOADS_PER_USER_MAX, Upload,
        check_filename,
    },
};
