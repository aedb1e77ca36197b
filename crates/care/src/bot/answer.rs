//! What the bot does and says.

use ruma::{RoomOrAliasId, UserId};
use wardroom_rooms::EventNid;

use super::command::Command;
use crate::{
    Care, CareError, Emergency, EmergencyReason,
    emergency::{is_passing, utc},
};

/// How to talk to the bot.
pub(super) const HELP: &str = "\
I let you into a room in an emergency, where the room's rules say that you may. Everybody there sees it, and it is \
reviewed afterwards.\n\
\n\
breakglass <room> <CODE> \"<reason>\"  enters a room, for example: breakglass #ward-7 ETREAT \"cardiac arrest, bed 4\"\n\
end <room>  leaves it again\n\
status  lists where you are in an emergency\n\
help  says this";

/// What is said where messages are encrypted.
pub(super) const ENCRYPTED: &str = "\
This chat is encrypted, and I cannot read it. Start another direct chat with me with encryption turned off, and write \
help there.";

/// What is said to somebody who writes too much.
pub(super) const TOO_MUCH: &str = "That was a lot: I do not answer for some minutes.";

impl Care {
    /// Does what is asked, and says what came of it.
    ///
    /// # Errors
    /// Those after which the same may succeed.
    pub(super) async fn obey(&self, user: &UserId, command: Command, message: EventNid) -> Result<String, CareError> {
        let done = match command {
            Command::Help => Ok(HELP.to_owned()),
            Command::Wrong(sentence) => Ok(format!("{sentence} Write help to see how.")),
            Command::Status => self.status(user).await,
            Command::Begin { room, reason } => self.obey_begin(user, &room, reason, message).await,
            Command::End { room } => self.obey_end(user, &room).await,
        };
        match done {
            Err(error) if is_passing(&error) => Err(error),
            Err(CareError::NoSuchEmergency) => Ok("You have no emergency access to that room now.".to_owned()),
            Err(error) => Ok(sentence(&error)),
            Ok(answer) => Ok(answer),
        }
    }

    async fn obey_begin(
        &self,
        user: &UserId,
        room: &RoomOrAliasId,
        reason: EmergencyReason,
        message: EventNid,
    ) -> Result<String, CareError> {
        let Emergency { room_id, expires_ts, .. } = self.begin_emergency(user, room, reason, Some(message)).await?;
        let until = utc(expires_ts);
        Ok(format!(
            "You are in {room_id} until {until}. The room and those responsible for privacy are told, and it will be \
             reviewed. To leave it, write: end {room_id}"
        ))
    }

    async fn obey_end(&self, user: &UserId, room: &RoomOrAliasId) -> Result<String, CareError> {
        let Emergency { room_id, .. } = self.end_own_emergency(user, room).await?;
        Ok(format!("Your emergency access to {room_id} has ended."))
    }

    async fn status(&self, user: &UserId) -> Result<String, CareError> {
        let going_on = self.own_emergencies(user).await?;
        if going_on.is_empty() {
            return Ok("You have no emergency access to any room now.".to_owned());
        }
        let line = |one: &Emergency| format!("{} until {} ({})", one.room_id, utc(one.expires_ts), one.reason_code);
        let lines: Vec<String> = going_on.iter().map(line).collect();
        Ok(format!("You have emergency access to:\n{}", lines.join("\n")))
    }
}

/// An error as a sentence of its own.
fn sentence(error: &CareError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let mut sentence: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::sentence;
    use crate::CareError;

    #[test]
    fn errors_are_sentences() {
        assert_eq!(sentence(&CareError::NoSuchRoom), "This server is not in that room.");
        assert_eq!(sentence(&CareError::Refused("No.".to_owned())), "No.");
    }
}
