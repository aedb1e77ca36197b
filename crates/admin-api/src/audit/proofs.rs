//! Checkpoints of the trail and proofs of it (RFC 9162, C2SP `tlog-checkpoint`). They say nothing of what is in the records.

use axum::Json;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, header::CONTENT_TYPE};
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{AuditError, Hash};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const KEY: &str = "/_wardroom/admin/v1/audit/key";
const CHECKPOINT: &str = "/_wardroom/admin/v1/audit/checkpoint";
const CHECKPOINTS: &str = "/_wardroom/admin/v1/audit/checkpoints";
const PROOF: &str = "/_wardroom/admin/v1/audit/proof";
const CONSISTENCY: &str = "/_wardroom/admin/v1/audit/consistency";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(KEY, Audit, "Tells the public keys by which checkpoints of the audit trail are checked: its own, and those of its witnesses.", key)
        .get(CHECKPOINT, Audit, "Tells the newest checkpoint of the audit trail, a signed note.", checkpoint)
        .get(
            CHECKPOINTS,
            Audit,
            "Lists the checkpoints of more records than `after`, the smallest first, and the first record that is still kept.",
            checkpoints,
        )
        .get(
            PROOF,
            Audit,
            "Proves that the record `index` is in the audit trail as it was when it had `size` records.",
            proof,
        )
        .get(
            CONSISTENCY,
            Audit,
            "Proves that the audit trail of `to` records continues that of `from` records.",
            consistency,
        )
}

fn path(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn needed(asked: &Asked, name: &'static str) -> Result<u64, ApiError> {
    asked.number(name)?.ok_or_else(|| ApiError::missing_param(format!("{name}: a number of records")))
}

/// What is told where a proof cannot be made.
fn refused(name: &'static str, failed: AuditError) -> ApiError {
    match failed {
        AuditError::Beyond(size) => ApiError::invalid_param(format!("{name}: there are only {size} records")),
        failed => error::of_audit(failed),
    }
}

async fn key(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let key = state.audit.key().ok_or_else(|| ApiError::not_found("Nothing is recorded."))?;
    let id = format!("{:08x}", u32::from_be_bytes(key.id()));
    let public = STANDARD.encode(key.public());
    let witnesses = state.audit.witness_keys().await.map_err(error::of_audit)?;
    Ok(Json(json!({
        "name": key.name, "key_id": id, "public_key": public, "key": key.to_string(), "witnesses": witnesses,
    })))
}

async fn checkpoint(state: AdminState, _: Asked) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let newest = state.audit.newest_checkpoint().await.map_err(error::of_audit)?;
    let (_, note) = newest.ok_or_else(|| ApiError::not_found("There is no checkpoint yet."))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}

async fn checkpoints(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let found = state.audit.checkpoints(asked.number("after")?, limit).await.map_err(error::of_audit)?;
    let (_, first) = state.audit.extent().await.map_err(error::of_audit)?;
    let next = found.last().filter(|_| found.len() == limit).map(|(size, _)| *size);
    let notes: Vec<&String> = found.iter().map(|(_, note)| note).collect();
    Ok(Json(json!({ "checkpoints": notes, "next": next, "first_record": first })))
}

async fn proof(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (index, size) = (needed(&asked, "index")?, needed(&asked, "size")?);
    if index >= size {
        return Err(ApiError::invalid_param("index: must be below size"));
    }
    let (leaf, hashes) = state.audit.inclusion(index, size).await.map_err(|failed| refused("size", failed))?;
    Ok(Json(json!({ "index": index, "size": size, "leaf": STANDARD.encode(leaf), "path": path(&hashes) })))
}

async fn consistency(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (from, to) = (needed(&asked, "from")?, needed(&asked, "to")?);
    if from > to {
        return Err(ApiError::invalid_param("from: must not be above to"));
    }
    let hashes = state.audit.consistency(from, to).await.map_err(|failed| refused("to", failed))?;
    Ok(Json(json!({ "from": from, "to": to, "path": path(&hashes) })))
}
