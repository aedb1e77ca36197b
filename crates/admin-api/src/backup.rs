//! `POST /_wardroom/admin/v1/backup`: has the running server copy everything that it stores.

use std::{fmt, pin::Pin};

use axum::Json;
use http::StatusCode;
use ruma::api::error::ErrorKind;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

/// What was copied.
#[derive(Clone, Debug)]
pub struct BackupMade {
    /// Directory of the copy of the data, on the server.
    pub directory: String,
    /// Files of the content repository.
    pub media_files: u64,
    /// Their bytes.
    pub media_bytes: u64,
    /// Destructions of keys that the journal tells of.
    pub destructions: u64,
}

/// Why no backup was made.
#[derive(Clone, Debug)]
pub enum BackupFailed {
    /// Another one is being made.
    Busy,
    /// It failed, for this reason.
    Failed(String),
}

/// The making of a backup.
pub type BackupFuture = Pin<Box<dyn Future<Output = Result<BackupMade, BackupFailed>> + Send>>;

/// Who makes backups where the operator wants them.
pub trait Backups: fmt::Debug + Send + Sync {
    /// Makes one. It goes on if nobody waits for it any more.
    fn make(&self) -> BackupFuture;
}

pub(crate) fn endpoints() -> Endpoints {
    let summary = "Copies everything that is stored to the configured directories.";
    Endpoints::new().post("/_wardroom/admin/v1/backup", Operation, summary, make)
}

async fn make(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let Some(backups) = &state.backups else {
        return Err(ApiError::not_found("backup.dir is not configured: this server makes no backups by itself."));
    };
    match backups.make().await {
        Ok(made) => Ok(Json(json!({
            "directory": made.directory,
            "media_files": made.media_files,
            "media_bytes": made.media_bytes,
            "destructions": made.destructions,
        }))),
        Err(BackupFailed::Busy) => {
            Err(ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, "Another backup is being made."))
        }
        Err(BackupFailed::Failed(why)) => {
            let sentence = format!("The backup failed: {why}.");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Unknown, sentence))
        }
    }
}
