//! The part of `initial-sync` that speaks Simplified Sliding Sync (MSC4186).

use serde_json::{Value, json};

use super::{Ctx, initial_sync::InitialSyncArgs};
use crate::{
    client::{ApiError, Res, User, text},
    stats::Lat,
};

pub(super) fn sliding_body(conn: &str, last: usize) -> Value {
    json!({
        "conn_id": conn,
        "lists": {"all": {
            "ranges": [[0, last]],
            "timeline_limit": 20,
            "required_state": [["m.room.create", ""], ["m.room.name", ""], ["m.room.avatar", ""],
                ["m.room.power_levels", ""], ["m.room.join_rules", ""], ["m.room.encryption", ""],
                ["m.room.member", "$LAZY"]],
        }},
        "extensions": {"to_device": {"enabled": true}, "e2ee": {"enabled": true},
            "account_data": {"enabled": true}, "receipts": {"enabled": true}, "typing": {"enabled": true}},
    })
}

/// Measures it when the server has it, and says so in the metrics when not.
pub(super) async fn sliding(
    cx: &Ctx,
    a: &InitialSyncArgs,
    me: &User,
    rooms: &[(String, User)],
    metrics: &mut Value,
    ops: &mut u64,
) -> Res<()> {
    let (mut init, mut window, mut incr) = (Lat::new(), Lat::new(), Lat::new());
    let mut pos = String::new();
    let mut conn = String::new();
    for i in 0..a.iterations.max(1) {
        // What a client asks for at start-up: the first screen of 20 rooms.
        match cx.server.sliding_sync(me, None, &sliding_body(&format!("w{i}"), 19)).await {
            Ok(r) => window.ok(r.took, r.body.len()),
            Err(ApiError::Status { code: 404 | 405, .. }) | Err(ApiError::Status { code: 400, .. }) if i == 0 => {
                metrics["sliding"] = json!("unsupported");
                return Ok(());
            }
            Err(e) => window.error(e.key()),
        }
        conn = format!("a{i}");
        match cx.server.sliding_sync(me, None, &sliding_body(&conn, a.rooms.max(1) - 1)).await {
            Ok(r) => {
                let v = r.json();
                init.ok(r.took, r.body.len());
                let n = v["rooms"].as_object().map_or(0, |m| m.len());
                if n != a.rooms {
                    init.error(format!("rooms in sync: {n}"));
                }
                pos = v["pos"].as_str().unwrap_or_default().to_owned();
            }
            Err(e) => init.error(e.key()),
        }
        *ops += 2;
    }
    let body = sliding_body(&conn, a.rooms.max(1) - 1);
    for i in 0..a.incremental {
        let (room, u) = &rooms[i % rooms.len()];
        cx.server.send(u, room, &format!("sn{conn}{i}{pos}"), &text("incremental")).await?;
        match cx.server.sliding_sync(me, Some(&pos), &body).await {
            Ok(r) => {
                let v = r.json();
                if v["rooms"].get(room).is_some() {
                    incr.ok(r.took, r.body.len());
                } else {
                    incr.error("room not in sync");
                }
                pos = v["pos"].as_str().unwrap_or_default().to_owned();
            }
            Err(e) => incr.error(e.key()),
        }
        *ops += 2;
    }
    metrics["sliding_first20"] = window.to_json(0.0);
    metrics["sliding_all"] = init.to_json(0.0);
    metrics["sliding_incremental"] = incr.to_json(0.0);
    Ok(())
}
