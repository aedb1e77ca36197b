//! Those who leave all rooms because the directory says that they are gone. That cannot be taken back, so a directory that
//! says it of many at once is not believed that far: their accounts are closed, and their rooms stay.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tracing::warn;
use wardroom_accounts::User;
use wardroom_care::Source;
use wardroom_rooms::UserNid;

use crate::{Provisioning, ScimError};

/// The time within which leavers are counted together, an hour.
const PERIOD_MS: u64 = 60 * 60 * 1_000;
/// So many may always leave within that time.
const LEAVERS_LET_PASS: usize = 10;

/// When somebody left all rooms lately, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Leavers(Mutex<VecDeque<u64>>);

impl Leavers {
    /// Whether one more may leave now, if at most so many may within an hour; counts them then.
    fn admit(&self, now_ms: u64, most: usize) -> bool {
        let mut times = self.0.lock();
        while times.front().is_some_and(|at_ms| at_ms.saturating_add(PERIOD_MS) <= now_ms) {
            times.pop_front();
        }
        let admitted = times.len() < most;
        if admitted {
            times.push_back(now_ms);
        }
        admitted
    }
}

impl Provisioning {
    /// Has somebody who is gone leave all rooms.
    pub(crate) async fn leave_rooms(&self, user: &User) -> Result<(), ScimError> {
        let inner = &*self.0;
        let nid = UserNid::new(user.nid.get());
        if !inner.settings.leave_rooms || !inner.rooms.is_in_a_room(nid).await? {
            return Ok(());
        }
        let known = inner.care.roles().spoken_for(Source::Scim);
        let most = LEAVERS_LET_PASS.max(known * usize::from(inner.care.removal_percent_max()) / 100);
        if !inner.leavers.admit(inner.clock.now_ms(), most) {
            let sentence = "the directory says of many users at once that they are gone: they are shut out, but stay in \
                            those of their rooms that require no role";
            inner.care.tell_of_brake(sentence).await;
            return Ok(());
        }
        let failed = inner.rooms.leave_everything(&user.id, nid).await?;
        if failed > 0 {
            warn!(failed, "somebody who is gone could not leave all rooms");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Leavers, PERIOD_MS};

    #[test]
    fn so_many_leave_within_an_hour() {
        let leavers = Leavers::default();
        assert!((0..3).all(|second| leavers.admit(second, 3)));
        assert!(!leavers.admit(PERIOD_MS - 1, 3));
        assert!(leavers.admit(PERIOD_MS, 3), "the first was an hour ago");
        assert!(!leavers.admit(PERIOD_MS, 3));
    }
}
