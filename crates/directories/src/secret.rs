//! Secrets in files.

use std::{io, path::Path};

use tokio::io::AsyncReadExt as _;

use crate::Fault;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4_096;

/// A secret, without the end of its line. It is read each time, so that it can be changed while the server runs.
pub(crate) async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |source| Fault::Secret { key, source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut secret = Vec::new();
    file.take(SECRET_BYTES_MAX).read_to_end(&mut secret).await.map_err(failed)?;
    while matches!(secret.last(), Some(b'\n' | b'\r')) {
        secret.pop();
    }
    // With a name and no password a directory lets everybody in as nobody (RFC 4513, section 5.1.2).
    if secret.is_empty() { Err(failed(io::Error::other("it is empty"))) } else { Ok(secret) }
}
