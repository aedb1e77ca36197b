//! The access bot: the server's own user listens in direct chats, for people whose client has no button for emergencies.
//!
//! It is in a direct chat with a user of this server where that user asked it in, or where it had something to tell them,
//! and takes commands from that user alone, while nobody else is there. Other invitations it declines. What is written
//! while the server is down is answered once, after the start: the place up to which it has read is durable, and the
//! message is the transaction of the answer, and of the emergency that it begins.

mod answer;
mod command;
mod listening;

use wardroom_rooms::Follower;

use self::listening::Listener;
use crate::{Care, CareError};

impl Care {
    /// Makes the server's own user, so that it can be written to, and begins to listen. To be called before anything can
    /// happen.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(&self) -> Result<(), CareError> {
        self.0.service.account().await?;
        self.0.rooms.follow(Follower::Access).await?;
        Ok(())
    }

    /// Listens until the server stops.
    pub async fn run_access_bot(&self) {
        Listener::run(self.clone()).await;
    }
}
