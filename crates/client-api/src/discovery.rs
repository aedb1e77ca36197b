//! How a client finds out what this server is and can.

mod versions;
mod well_known;

use wardroom_web::Routes;

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    well_known::routes().merge(versions::routes())
}
