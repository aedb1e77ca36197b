//! Profiles of users of other servers.

use crate::{Partners, Parts};

/// Profiles of users of other servers.
#[derive(Clone, Debug)]
pub struct RemoteProfiles {}

impl RemoteProfiles {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }
}
