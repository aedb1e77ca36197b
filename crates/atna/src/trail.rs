//! Reading the trail from one record to the next.

use wardroom_audit::{AuditError, AuditLog, Entry};

/// The next records from a number on, at most so many; none where there are none yet. Records whose time is over are passed over.
pub(crate) async fn page(trail: &AuditLog, mut next: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
    let size = trail.catch_up().await?;
    while next < size {
        let page = trail.entries(next, limit).await?;
        if !page.is_empty() {
            return Ok(page);
        }
        // So many records were there, and their time was over.
        next = next.saturating_add(u64::try_from(limit.max(1)).unwrap_or(u64::MAX));
    }
    Ok(Vec::new())
}
