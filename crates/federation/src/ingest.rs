//! Events that other servers send.

use crate::{Partners, Parts};

/// Events that other servers send.
#[derive(Clone, Debug)]
pub struct Ingest {}

impl Ingest {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }
}
