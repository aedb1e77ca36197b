//! Many keys as one JSON document that is written while it is sent, page by page: a backup may be larger than what one
//! answer should hold in memory.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::OwnedRoomId;
use wardroom_accounts::{Accounts, BackupCursor, BackupError, BackupKey, BackupPage, UserNid};
use wardroom_web::ApiError;

use super::refusal;

/// All keys: `{"rooms": {roomId: {"sessions": {sessionId: key}}}}`.
pub(super) async fn of_all(accounts: Accounts, user: UserNid, version: String) -> Result<Response, ApiError> {
    Listing { accounts, user, version, room: None, document: Document::of_rooms() }.answer().await
}

/// Those of a room: `{"sessions": {sessionId: key}}`.
pub(super) async fn of_room(
    accounts: Accounts,
    user: UserNid,
    version: String,
    room: OwnedRoomId,
) -> Result<Response, ApiError> {
    Listing { accounts, user, version, room: Some(room), document: Document::of_sessions() }.answer().await
}

struct Listing {
    accounts: Accounts,
    user: UserNid,
    version: String,
    room: Option<OwnedRoomId>,
    document: Document,
}

/// What is sent next.
enum Next {
    Page(BackupPage),
    Behind(BackupCursor),
    Nothing,
}

impl Listing {
    /// The first page is read before the answer begins: until then it can be an error. A failure later breaks the
    /// answer off.
    async fn answer(self) -> Result<Response, ApiError> {
        let first = self.page(None).await.map_err(refusal)?;
        let chunks = stream::try_unfold((self, Next::Page(first)), |(mut listing, next)| async move {
            let page = match next {
                Next::Page(page) => page,
                Next::Behind(cursor) => listing.following(cursor).await?,
                Next::Nothing => return Ok::<_, axum::BoxError>(None),
            };
            let next = page.next.map_or(Next::Nothing, Next::Behind);
            let chunk = listing.document.write(&page.keys, page.next.is_none())?;
            Ok(Some((chunk, (listing, next))))
        });
        let mut response = Body::from_stream(chunks).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    async fn page(&self, after: Option<BackupCursor>) -> Result<BackupPage, BackupError> {
        self.accounts.backup_keys(self.user, &self.version, self.room.as_deref(), after).await
    }

    /// A version that is deleted while it is read has no further keys.
    async fn following(&self, cursor: BackupCursor) -> Result<BackupPage, BackupError> {
        match self.page(Some(cursor)).await {
            Err(BackupError::UnknownVersion) => Ok(BackupPage { keys: Vec::new(), next: None }),
            page => page,
        }
    }
}

/// The document so far.
struct Document {
    /// Rooms are named, not just the sessions of one.
    names_rooms: bool,
    begun: bool,
    /// The room whose sessions are being written.
    room: Option<OwnedRoomId>,
    /// Nothing stands in the innermost object yet.
    first: bool,
}

impl Document {
    fn of_rooms() -> Self {
        Self { names_rooms: true, begun: false, room: None, first: true }
    }

    fn of_sessions() -> Self {
        Self { names_rooms: false, ..Self::of_rooms() }
    }

    /// The next part of the document, with the end of it behind the last keys.
    fn write(&mut self, keys: &[BackupKey], last: bool) -> serde_json::Result<Bytes> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(if self.names_rooms { b"{\"rooms\":{" } else { b"{\"sessions\":{" });
        }
        for key in keys {
            if self.names_rooms && self.room.as_ref() != Some(&key.room_id) {
                self.enter_room(&mut out, key)?;
            }
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, &key.session_id)?;
            out.push(b':');
            serde_json::to_writer(&mut out, &key.data)?;
        }
        if last {
            out.extend_from_slice(if self.room.is_some() { b"}}}}" } else { b"}}" });
        }
        Ok(out.into())
    }

    fn enter_room(&mut self, out: &mut Vec<u8>, key: &BackupKey) -> serde_json::Result<()> {
        if self.room.replace(key.room_id.clone()).is_some() {
            out.extend_from_slice(b"}},");
        }
        serde_json::to_writer(&mut *out, &key.room_id)?;
        out.extend_from_slice(b":{\"sessions\":{");
        self.first = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma::RoomId;
    use serde_json::{Value, json, value::RawValue};
    use wardroom_accounts::{BackupKey, BackupKeyData};

    use super::Document;

    fn key(room: &str, session: &str) -> BackupKey {
        let data = BackupKeyData {
            first_message_index: ruma::UInt::from(1_u32),
            forwarded_count: ruma::UInt::from(0_u32),
            is_verified: true,
            session_data: RawValue::from_string("\"x\"".to_owned()).unwrap(),
        };
        BackupKey { room_id: RoomId::parse(room).unwrap(), session_id: session.to_owned(), data }
    }

    fn document(mut document: Document, pages: &[&[BackupKey]]) -> Value {
        let mut bytes = Vec::new();
        for (at, page) in pages.iter().enumerate() {
            bytes.extend_from_slice(&document.write(page, at + 1 == pages.len()).unwrap());
        }
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn pages_become_one_document() {
        let data = json!({ "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": "x" });
        let keys = [key("!a:x", "1"), key("!a:x", "\"2"), key("!b:x", "1"), key("!c:x", "1")];
        let rooms = json!({ "rooms": {
            "!a:x": { "sessions": { "1": data, "\"2": data } },
            "!b:x": { "sessions": { "1": data } },
            "!c:x": { "sessions": { "1": data } },
        } });
        for cut in 0..=keys.len() {
            let pages = [&keys[..cut], &keys[cut..], &[]];
            assert_eq!(document(Document::of_rooms(), &pages), rooms, "cut at {cut}");
            assert_eq!(document(Document::of_rooms(), &pages[..2]), rooms, "cut at {cut}");
        }
        let sessions = json!({ "sessions": { "1": data, "\"2": data } });
        assert_eq!(document(Document::of_sessions(), &[&keys[..1], &keys[1..2]]), sessions);
    }

    #[test]
    fn nothing_is_an_empty_document() {
        assert_eq!(document(Document::of_rooms(), &[&[]]), json!({ "rooms": {} }));
        assert_eq!(document(Document::of_sessions(), &[&[]]), json!({ "sessions": {} }));
    }
}
