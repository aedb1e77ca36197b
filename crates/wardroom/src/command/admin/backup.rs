//! `wardroom admin backup`.

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    shown::field,
};

/// Has the server copy everything that it stores.
pub(super) async fn make(server: &Server) -> Result<Answer, AdminError> {
    let made = server.ask(Ask::post(&["_wardroom", "admin", "v1", "backup"], serde_json::json!({}))).await?;
    let sentence = format!("The data is in {}, on the server.", field(&made, "directory"));
    Ok(Answer::sentence(&sentence, made))
}
