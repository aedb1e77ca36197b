//! The records as they are hashed, and their hashes: what an export consists of.

use axum::{body::Body, response::IntoResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, AuditError, AuditLog, ENTRIES_MAX, LEAVES_MAX, Record};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const LOG: &str = "/_wardroom/admin/v1/audit/log";
const LEAVES: &str = "/_wardroom/admin/v1/audit/leaves";

/// Records of one answer where the request does not say how many.
const LOG_DEFAULT: u64 = 1_000;
/// Records of one answer at most.
const LOG_MAX: u64 = 100_000;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(
            LOG,
            Audit,
            "Gives audit records from the number `from` on, at most `limit` (100000), as they are hashed: canonical JSON, one a \
             line. Those that are not kept any more are left out.",
            log,
        )
        .get(
            LEAVES,
            Audit,
            "Gives the SHA-256 hashes of audit records from the number `from` on, at most `limit` (100000), 32 bytes each, also \
             of those that are not kept any more.",
            leaves,
        )
}

async fn log(state: AdminState, asked: Asked) -> Result<impl IntoResponse + use<>, ApiError> {
    let from = asked.number("from")?.unwrap_or_default();
    let limit = asked.number("limit")?.unwrap_or(LOG_DEFAULT).min(LOG_MAX);
    let size = state.audit.catch_up().await.map_err(error::of_audit)?;
    let end = from.saturating_add(limit).min(size);
    let record = Record::of(Act::AuditExport).query(asked.query_string()).count(end.saturating_sub(from));
    state.audit.write(record).await.map_err(error::of_audit)?;
    let pages = stream::try_unfold((state.audit, from), move |(audit, from)| page(audit, from, end));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)))
}

/// A part of the records, with the trail and where the next part begins.
type Part = Option<(Bytes, (AuditLog, u64))>;

async fn page(audit: AuditLog, from: u64, end: u64) -> Result<Part, AuditError> {
    let records = audit.lines(from, end, ENTRIES_MAX).await?;
    let Some((last, _)) = records.last() else { return Ok(None) };
    let next = last.saturating_add(1);
    let mut lines = BytesMut::with_capacity(records.iter().map(|(_, line)| line.len() + 1).sum());
    for (_, line) in &records {
        lines.put_slice(line);
        lines.put_u8(b'\n');
    }
    Ok(Some((lines.freeze(), (audit, next))))
}

async fn leaves(state: AdminState, asked: Asked) -> Result<impl IntoResponse + use<>, ApiError> {
    let from = asked.number("from")?.unwrap_or_default();
    let limit = asked.number("limit")?.map_or(LEAVES_MAX, |limit| usize::try_from(limit).unwrap_or(LEAVES_MAX));
    let leaves = state.audit.leaves(from, limit).await.map_err(error::of_audit)?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], leaves.concat()))
}
