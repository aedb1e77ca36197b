//! Why the server does not start.

use std::{io, path::PathBuf};

use ruma::OwnedServerName;
use wardroom_accounts::AccountError;
use wardroom_audit::AuditError;
use wardroom_federation::PartnerError;
use wardroom_holds::HoldError;
use wardroom_media::MediaError;
use wardroom_outbound::OutboundError;
use wardroom_push::PushError;
use wardroom_store::{CatalogueError, CommitError, OpenError, ReadError};

use crate::keys::KeyError;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("data_dir {}", dir.display())]
    DataDir { dir: PathBuf, source: io::Error },
    #[error("{key} {}", path.display())]
    File { key: &'static str, path: PathBuf, source: io::Error },
    #[error("the store in {}", dir.display())]
    Store { dir: PathBuf, source: OpenError },
    #[error("there is no store in {} yet", .0.display())]
    NoStore(PathBuf),
    #[error("data_dir {}: a restore was not finished; run it again", .0.display())]
    Restoring(PathBuf),
    #[error("the tables are declared wrongly")]
    Tables(#[from] CatalogueError),
    #[error(transparent)]
    Accounts(#[from] AccountError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error("the store cannot be written")]
    Commit(#[from] CommitError),
    #[error(
        "the store belongs to the server {stored}, the configuration says server_name = \"{configured}\": a server \
         cannot be renamed"
    )]
    OtherName { stored: OwnedServerName, configured: OwnedServerName },
    #[error("roles.service_user: is no local part of a user id")]
    ServiceUser,
    #[error(transparent)]
    Care(#[from] wardroom_care::CareError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("legal holds")]
    Holds(#[from] HoldError),
    #[error("audit_export: a file")]
    AuditExport(#[source] io::Error),
    #[error("audit_export")]
    Feeds(#[from] wardroom_atna::FeedError),
    #[error("scim.tokens_file")]
    ScimTokens(#[from] wardroom_scim_api::TokenError),
    #[error("directories")]
    Directories(#[from] wardroom_directories::Fault),
    #[error("the stored signing key is damaged")]
    Identity,
    #[error("the media directory {}", dir.display())]
    Media { dir: PathBuf, source: MediaError },
    #[error("requests to other servers")]
    Federation(#[from] PartnerError),
    #[error("the client for requests to others")]
    Outbound(#[from] OutboundError),
}
