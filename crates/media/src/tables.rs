//! What this crate keeps in the store, table ids 0x0300 to 0x03FF. Keys hold numbers, times and keyed hashes.

use std::fmt;

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Profile, Seal, Table, TableSpec, WatchKey};

use crate::{blobs::BlobName, keys};

/// Domains of keyed hashes, so that equal texts of different meaning have different hashes.
pub(crate) mod domain {
    pub(crate) const MEDIA: u8 = 0x30;
    pub(crate) const PREVIEW: u8 = 0x31;
}

/// Kind of the watch keys that say "the content of this media arrived".
const WATCH_MEDIA: u8 = 7;

/// Keyed hash of a server's name and a media id.
pub(crate) type MediaKey = Hash16;
/// (media, method, width, height, animated).
pub(crate) type ThumbnailKey = (MediaKey, u8, u32, u32, bool);

/// media -> [`MediaRow`].
pub(crate) const MEDIA: Table<MediaKey, Packed<MediaRow>> = Table::new(0x0300, "media", Profile::Point, Seal::System);
/// (user, time of creation, media): what a user uploaded, oldest first.
pub(crate) const MEDIA_OF_USER: Table<(u64, u64, MediaKey), ()> =
    Table::new(0x0301, "media_of_user", Profile::Scan, Seal::System);
/// (time, media): what ends by itself, and when: ids without content, images of previews.
pub(crate) const EXPIRING: Table<(u64, MediaKey), ()> =
    Table::new(0x0302, "media_expiring", Profile::Churn, Seal::System);
/// user -> [`UsageRow`].
pub(crate) const USAGE: Table<u64, Packed<UsageRow>> = Table::new(0x0303, "media_usage", Profile::Point, Seal::System);
/// file -> length of its content: every file that a row names.
pub(crate) const BLOBS: Table<BlobName, u64> = Table::new(0x0304, "media_blobs", Profile::Scan, Seal::System);
/// (media, method, width, height, animated) -> [`ThumbnailRow`].
pub(crate) const THUMBNAILS: Table<ThumbnailKey, Packed<ThumbnailRow>> =
    Table::new(0x0305, "media_thumbnails", Profile::Scan, Seal::System);

/// media of another server -> [`RemoteRow`].
pub(crate) const REMOTE_MEDIA: Table<MediaKey, Packed<RemoteRow>> =
    Table::new(0x0310, "media_remote", Profile::Point, Seal::System);
/// (day since 1970 on which it was last looked at, media): media of other servers, those nobody looks at first.
pub(crate) const REMOTE_MEDIA_BY_USE: Table<(u64, MediaKey), ()> =
    Table::new(0x0311, "media_remote_by_use", Profile::Churn, Seal::System);

/// media -> what administrators decided about it.
pub(crate) const MEDIA_MARKS: Table<MediaKey, Packed<MarksRow>> =
    Table::new(0x0312, "media_marks", Profile::Point, Seal::System);
/// media of this server -> day since 1970 on which it was last looked at.
pub(crate) const MEDIA_USED: Table<MediaKey, u64> = Table::new(0x0313, "media_used", Profile::Point, Seal::System);

/// All tables of this crate, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *MEDIA.spec(),
    *MEDIA_OF_USER.spec(),
    *EXPIRING.spec(),
    *USAGE.spec(),
    *BLOBS.spec(),
    *THUMBNAILS.spec(),
    *REMOTE_MEDIA.spec(),
    *REMOTE_MEDIA_BY_USE.spec(),
    *MEDIA_MARKS.spec(),
    *MEDIA_USED.spec(),
    *keys::FILE_KEYS.spec(),
    *keys::DOOMED.spec(),
];

/// Where its content lies.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct BlobRow {
    pub(crate) name: BlobName,
    /// Number of the media that it belongs to, by which its key is found.
    pub(crate) number: u64,
    /// Bytes of content.
    pub(crate) length: u64,
}

impl fmt::Debug for BlobRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobRow").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Why it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// Somebody uploaded it.
    Upload,
    /// The image of a previewed page.
    Preview,
}

/// One media.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct MediaRow {
    /// The id, as clients know it.
    pub(crate) id: String,
    pub(crate) origin: Origin,
    pub(crate) owner: u64,
    pub(crate) created_ms: u64,
    /// Absent until it was uploaded.
    pub(crate) content: Option<ContentRow>,
    /// When it ends by itself; of ids without content, when the content must have arrived.
    pub(crate) expires_ms: Option<u64>,
    /// Since when nobody gets it.
    pub(crate) quarantined_ms: Option<u64>,
}

impl fmt::Debug for MediaRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaRow").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// One media of another server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RemoteRow {
    /// The server's name.
    pub(crate) server: String,
    /// The id, as that server made it.
    pub(crate) id: String,
    pub(crate) fetched_ms: u64,
    /// Days since 1970.
    pub(crate) used_day: u64,
    /// Absent where it was quarantined and is not here.
    pub(crate) content: Option<ContentRow>,
    /// Since when nobody gets it.
    pub(crate) quarantined_ms: Option<u64>,
}

impl fmt::Debug for RemoteRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRow").field("used_day", &self.used_day).finish_non_exhaustive()
    }
}

/// A content.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ContentRow {
    pub(crate) blob: BlobRow,
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
}

/// What administrators decided about a media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarksRow {
    /// It is not hidden with others.
    pub(crate) protected: bool,
    /// Who hid it.
    pub(crate) quarantined_by: Option<u64>,
}

/// What a user has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Ids without content.
    pub(crate) pending: u32,
}

/// What became of a wish for a thumbnail.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum ThumbnailRow {
    /// It was made.
    Made { blob: BlobRow, content_type: String },
    /// The original serves, under the type that its bytes say.
    Original { content_type: String },
    /// There is nothing to animate: the still one serves.
    Still,
}

/// Wakes who waits for the content of a media. Two media may share a key: who wakes looks again.
pub(crate) fn watch_key(media: &MediaKey) -> WatchKey {
    let [a, b, c, d, e, f, g, h, ..] = *media;
    WatchKey { kind: WATCH_MEDIA, id: u64::from_be_bytes([a, b, c, d, e, f, g, h]) }
}
