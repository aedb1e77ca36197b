//! Witnesses: the trails of partners that this server looks at, and the partners that look at its own.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Cosigner, Faulty, Watched};
use wardroom_federation::Rounds;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const WITNESS: &str = "/_wardroom/admin/v1/audit/witness";
const ANEW: &str = "/_wardroom/admin/v1/audit/witness/{server_name}/anew";
const COSIGNATURES: &str = "/_wardroom/admin/v1/audit/cosignatures";
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(
            WITNESS,
            Audit,
            "Lists the partners whose audit trails this server looks at, with what it cosigned, what is wrong and the \
             evidence of it, and the partners that cosign its own trail.",
            witness,
        )
        .post(
            ANEW,
            Audit,
            "Takes the audit trail of a partner, and the key that it cosigns with, as they are from now on, after it was \
             restored or its key was lost. Takes a `reason`; evidence stays.",
            anew,
        )
        .get(
            COSIGNATURES,
            Audit,
            "Lists the checkpoints of more records than `after`, the smallest first, with who cosigned each and when.",
            cosignatures,
        )
}

fn time(ms: u64) -> Option<u64> {
    Some(ms).filter(|ms| *ms > 0)
}

fn watched(server: &str, row: Option<&Watched>, rounds: Option<&Rounds>) -> Value {
    let cosigned = row.and_then(Watched::cosigned);
    let fault = row.and_then(|row| row.fault).map(|Faulty { fault, first_ms, last_ms, count }| {
        json!({ "kind": fault.word(), "first_ts": first_ms, "last_ts": last_ms, "count": count })
    });
    json!({
        "server": server,
        "key": row.and_then(|row| row.key.as_ref()),
        "pinned_ts": row.and_then(|row| time(row.pinned_ms)),
        "records": cosigned.map(|(size, _)| size),
        "cosigned_ts": cosigned.map(|(_, at_ms)| at_ms),
        "checkpoint": row.and_then(Watched::checkpoint),
        "fault": fault,
        "asked_ts": rounds.and_then(|rounds| time(rounds.asked_ms)),
        "answered_ts": rounds.and_then(|rounds| time(rounds.answered_ms)),
        "failures": rounds.map(|rounds| rounds.failures),
        "error": rounds.and_then(|rounds| rounds.error.as_ref()),
    })
}

async fn witness(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let rows = state.audit.watched().await.map_err(error::of_audit)?;
    let rows: BTreeMap<&str, &Watched> = rows.iter().map(|row| (&*row.server, row)).collect();
    let witness = state.federation.as_ref().map(|federation| &federation.witness);
    let rounds = witness.map(wardroom_federation::Witness::rounds).unwrap_or_default();
    let servers: BTreeSet<&str> = rows.keys().copied().chain(rounds.keys().map(|server| server.as_str())).collect();
    let round = |server: &str| rounds.iter().find(|(name, _)| *name == server).map(|(_, rounds)| rounds);
    let shown: Vec<Value> =
        servers.into_iter().map(|server| watched(server, rows.get(server).copied(), round(server))).collect();
    let expected: Vec<&str> = witness
        .map_or_else(Vec::new, |witness| witness.settings().witnesses.iter().map(|server| server.as_str()).collect());
    let witnesses: Vec<Value> = state.audit.cosigners().await.map_err(error::of_audit)?.iter().map(cosigner).collect();
    Ok(Json(json!({
        "key": state.audit.witness_key().map(|key| key.to_string()),
        "watched": shown,
        "evidence": evidence(&state).await?,
        "witnesses": witnesses,
        "unwitnessed_ms": state.audit.unwitnessed_ms(&expected).await.map_err(error::of_audit)?,
    })))
}

async fn evidence(state: &AdminState) -> Result<Vec<Value>, ApiError> {
    let all = state.audit.evidence().await.map_err(error::of_audit)?;
    let piece = |one: wardroom_audit::Evidence| {
        json!({
            "server": one.server,
            "kind": one.fault.word(),
            "seen_ts": one.seen_ms,
            "known_key": one.known_key,
            "known": one.known,
            "shown_key": one.shown_key,
            "shown": one.shown,
            "proof": one.proof,
        })
    };
    Ok(all.into_iter().map(piece).collect())
}

fn cosigner(of: &Cosigner) -> Value {
    json!({
        "server": of.server,
        "key": of.key,
        "past_keys": of.past_keys,
        "expected_since_ts": time(of.since_ms),
        "records": Some(of.size).filter(|_| of.at_ms > 0),
        "cosigned_ts": time(of.at_ms),
    })
}

async fn anew(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        reason: String,
    }
    let Body { reason } = asked.body()?;
    if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        let sentence = format!("reason: must say why, in {REASON_CHARS_MAX} characters at most");
        return Err(ApiError::invalid_param(sentence));
    }
    let server = asked.part(0);
    let watched = state.audit.watch_anew(server, &reason).await.map_err(error::of_audit)?;
    let witness = state.audit.forget_witness_key(server, &reason).await.map_err(error::of_audit)?;
    if !watched && !witness {
        return Err(ApiError::not_found("server_name: nothing is known of that server's audit trail."));
    }
    Ok(Json(json!({ "trail_forgotten": watched, "witness_key_forgotten": witness })))
}

async fn cosignatures(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let found = state.audit.checkpoints(asked.number("after")?, limit).await.map_err(error::of_audit)?;
    let next = found.last().filter(|_| found.len() == limit).map(|(size, _)| *size);
    let mut checkpoints = Vec::with_capacity(found.len());
    for (size, note) in found {
        let by = state.audit.cosigned_by(size).await.map_err(error::of_audit)?;
        let by = by.into_iter().map(|(server, seconds, at_ms)| {
            json!({ "server": server, "signed_ts": seconds.saturating_mul(1_000), "received_ts": at_ms })
        });
        let by: Vec<Value> = by.collect();
        checkpoints.push(json!({ "records": size, "checkpoint": note, "cosigned_by": by }));
    }
    Ok(Json(json!({ "checkpoints": checkpoints, "next": next })))
}
