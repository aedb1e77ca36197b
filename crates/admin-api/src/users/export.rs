//! `GET /_wardroom/admin/v1/users/{user}/export`: everything that the server keeps of a user, for that user (GDPR, articles 15
//! and 20), as one JSON object for each line.
//!
//! The first line says of whom and when, the last one (`"kind": "end"`) how many there were: an answer without it broke off. What
//! the user wrote is there as the server has it; encrypted messages stay encrypted, since only the user has their keys.
//! Passwords, tokens and keys are not data about somebody, and stay here.

use std::convert::Infallible;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use ruma::UserId;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wardroom_accounts::{AdminScope::Privacy, User};
use wardroom_audit::{Act, Query, Record};
use wardroom_care::EmergencyQuery;
use wardroom_rooms::{Actor, Place, RoomView, TimelineRange, UserNid};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
    media::of_media,
};

const EXPORT: &str = "/_wardroom/admin/v1/users/{user_id}/export";
/// Lines that wait for a slow reader.
const LINES_WAITING_MAX: usize = 256;
/// Rows read at a time.
const PAGE: usize = 500;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        EXPORT,
        Privacy,
        "Hands out everything that is kept of a user, a JSON object on each line.",
        export,
    )
}

async fn export(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let user = asked.subject(&state, 0).await?;
    // What administrators did is read by those who may read it.
    let with_records = asked.scopes.has(wardroom_accounts::AdminScope::Audit);
    let record = Record::of(Act::AccountExport).user(user.id.as_str());
    state.audit.write(record).await.map_err(error::of_audit)?;
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(async move {
        let mut lines = Lines { sender, written: 0 };
        if let Err(error) = lines.all(&state, &user, with_records).await {
            // The answer has no last line then.
            tracing::warn!(?error, "the export of a user broke off");
        }
    });
    let lines = stream::unfold(receiver, async |mut receiver| {
        let line: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    let headers =
        [(CONTENT_TYPE, "application/x-ndjson"), (CONTENT_DISPOSITION, "attachment; filename=\"user.ndjson\"")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Why an export ends early.
#[derive(Debug)]
enum Broken {
    /// Nobody reads it any more.
    NoReader,
    /// The server could not go on.
    Failed(#[expect(dead_code, reason = "it is logged")] ApiError),
}

impl<E: Into<ApiError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The lines that were written.
struct Lines {
    sender: mpsc::Sender<Bytes>,
    written: u64,
}

impl Lines {
    async fn line(&mut self, kind: &str, content: Value) -> Result<(), Broken> {
        let mut line = json!({ "kind": kind, "content": content }).to_string();
        line.push('\n');
        self.written += 1;
        self.sender.send(line.into()).await.map_err(|_| Broken::NoReader)
    }

    async fn all(&mut self, state: &AdminState, user: &User, with_records: bool) -> Result<(), Broken> {
        self.line("export", json!({ "user_id": user.id, "at_ts": state.accounts.now_ms() })).await?;
        self.account(state, user).await?;
        self.settings(state, user).await?;
        self.rooms(state, user).await?;
        self.media(state, user).await?;
        self.access(state, user).await?;
        if with_records {
            self.records(state, &user.id).await?;
        }
        let lines = self.written;
        self.line("end", json!({ "lines": lines })).await
    }

    async fn account(&mut self, state: &AdminState, user: &User) -> Result<(), Broken> {
        let identities = state.accounts.identities(user.nid).await?;
        let account = json!({
            "user_id": user.id, "created_ts": user.created_ms, "admin": user.admin, "guest": user.guest,
            "deactivated": user.deactivated, "identities": identities,
        });
        self.line("account", account).await?;
        if let Some(profile) = state.accounts.profile_fields(&user.id).await? {
            self.line("profile", json!(profile)).await?;
        }
        for device in state.accounts.devices(user.nid).await? {
            let device = json!({
                "device_id": device.id, "display_name": device.display_name, "created_ts": device.created_ms,
                "last_seen_ts": device.last_seen_ms, "last_seen_ip": device.last_seen_ip,
            });
            self.line("device", device).await?;
        }
        Ok(())
    }

    async fn settings(&mut self, state: &AdminState, user: &User) -> Result<(), Broken> {
        for datum in state.accounts.all_account_data(user.nid).await? {
            self.line("account_data", json!({ "type": datum.event_type, "content": datum.content })).await?;
        }
        self.line("push_rules", json!(*state.accounts.push_rules(user.nid).await?)).await?;
        for pusher in state.accounts.pushers(user.nid).await? {
            // The push key is a secret of the device.
            let wardroom_accounts::NewPusher { app_id, app_display_name, device_display_name, lang, .. } = pusher.is;
            let pusher = json!({
                "app_id": app_id, "app_display_name": app_display_name, "device_display_name": device_display_name,
                "lang": lang, "updated_ts": pusher.updated_ms,
            });
            self.line("pusher", pusher).await?;
        }
        Ok(())
    }

    async fn rooms(&mut self, state: &AdminState, user: &User) -> Result<(), Broken> {
        let nid = UserNid::new(user.nid.get());
        for entry in state.rooms.memberships(nid).await.map_err(error::of_room)? {
            let Some(room) = state.rooms.room_id(entry.room).await.map_err(error::of_room)? else { continue };
            self.line("membership", json!({ "room_id": room, "membership": entry.membership.word() })).await?;
            for datum in state.accounts.all_room_account_data(user.nid, entry.room.get()).await? {
                let datum = json!({ "room_id": room, "type": datum.event_type, "content": datum.content });
                self.line("room_account_data", datum).await?;
            }
            if let (true, Some(view)) = (entry.was_joined, state.rooms.view(&room).await.map_err(error::of_room)?) {
                self.sent(state, user, &view).await?;
            }
        }
        Ok(())
    }

    /// What the user sent to a room.
    async fn sent(&mut self, state: &AdminState, user: &User, view: &RoomView) -> Result<(), Broken> {
        let reader = Actor { user: &user.id, nid: UserNid::new(user.nid.get()), device: None, guest: false };
        let mut from = Place::FIRST;
        loop {
            let range = TimelineRange { from, to: view.end, backwards: false, limit: PAGE };
            let items = state.rooms.timeline(view.nid, range).await.map_err(error::of_room)?;
            let Some(last) = items.last() else { return Ok(()) };
            from = last.place.next();
            for item in items.iter().filter(|item| item.event.pdu.sender() == user.id) {
                let event = state.rooms.client_event(reader, &item.event, true).await.map_err(error::of_room)?;
                self.line("event", json!(event)).await?;
            }
        }
    }

    async fn media(&mut self, state: &AdminState, user: &User) -> Result<(), Broken> {
        let uploads = state.media.all_of_user(wardroom_media::UserNid::new(user.nid.get())).await;
        for media in uploads.map_err(of_media)? {
            let uri = format!("mxc://{}/{}", media.media.server(), media.media.id());
            let media = json!({
                "mxc": uri, "created_ts": media.created_ms, "bytes": media.length, "content_type": media.content_type,
                "filename": media.filename,
            });
            self.line("media", media).await?;
        }
        Ok(())
    }

    /// Roles, and emergencies.
    async fn access(&mut self, state: &AdminState, user: &User) -> Result<(), Broken> {
        if let Some(holder) = state.care.roles().of(&user.id) {
            for (source, said) in holder.said() {
                for binding in &said.bindings {
                    let binding = json!({
                        "source": source.name(), "role": binding.role.to_string(), "from_ts": binding.from_ms,
                        "until_ts": binding.until_ms, "reason": binding.reason, "set_ts": binding.set_ms,
                    });
                    self.line("role", binding).await?;
                }
            }
        }
        let mut before = None;
        loop {
            let query =
                EmergencyQuery { open: None, reviewed: None, room: None, user: Some(&user.id), before, limit: PAGE };
            let page = state.care.emergencies(query).await.map_err(error::of_care)?;
            for emergency in &page.emergencies {
                self.line("emergency", json!(emergency)).await?;
            }
            before = page.next;
            if before.is_none() {
                return Ok(());
            }
        }
    }

    /// Audit records by the user and about the user.
    async fn records(&mut self, state: &AdminState, user: &UserId) -> Result<(), Broken> {
        let mut query = Query { user: Some(user.to_string()), limit: PAGE, ..Query::default() };
        loop {
            let found = state.audit.search(&query).await.map_err(error::of_audit)?;
            let Some(last) = found.last() else { return Ok(()) };
            query.after = Some(last.number);
            for entry in found {
                self.line("audit_record", json!({ "number": entry.number, "record": entry.record })).await?;
            }
        }
    }
}
