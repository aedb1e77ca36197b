//! Devices and keys of users of other servers.

use crate::{Partners, Parts};

/// Devices and keys of users of other servers.
#[derive(Clone, Debug)]
pub struct RemoteDevices {}

impl RemoteDevices {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }
}
