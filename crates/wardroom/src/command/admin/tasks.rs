//! `wardroom admin tasks`.

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    shown::{Column, entries, field, time},
};

const COLUMNS: &[Column] = &[
    ("ID", |of| field(of, "id")),
    ("WHAT", |of| field(of, "action")),
    ("STATUS", |of| field(of, "status")),
    ("CHANGED", |of| time(of, "timestamp_ms")),
    ("ROOM", |of| field(of, "resource_id")),
    ("ERROR", |of| field(of, "error")),
];

/// Lists what takes longer than a request.
pub(super) async fn list(server: &Server) -> Result<Answer, AdminError> {
    let found = server.ask(Ask::get(&["_synapse", "admin", "v1", "scheduled_tasks"])).await?;
    let tasks = entries(&found, "scheduled_tasks");
    Ok(Answer::table(tasks, COLUMNS, "Nothing was asked for."))
}
