//! Media of users of other servers.

use crate::{Partners, Parts};

/// Media of users of other servers.
#[derive(Clone, Debug)]
pub struct RemoteMedia {}

impl RemoteMedia {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }
}
