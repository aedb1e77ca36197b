//! Tells users what becomes of the messages in their rooms, by server notices.

use std::time::Duration;

use ruma::{OwnedTransactionId, OwnedUserId};
use serde_json::{json, value::to_raw_value};
use tokio::time::sleep;
use tracing::warn;
use wardroom_admin_api::{Notice, NoticeError, Notices};
use wardroom_clock::timestamp;
use wardroom_rooms::{RetentionNotice, RoomError, Rooms, Warning};

/// How long to wait after a failure; doubled while it lasts.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Between two users, so that what people send comes first.
const PAUSE: Duration = Duration::from_millis(10);

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Tells whatever is to be told, as long as it is polled.
pub(crate) async fn run(rooms: Rooms, notices: Notices) {
    let mut pause = FAILURE_PAUSE;
    loop {
        match tell_next(&rooms, &notices).await {
            Ok(true) => pause = FAILURE_PAUSE,
            Ok(false) => rooms.notice_added().await,
            Err(error) => {
                warn!(%error, "users could not be told what becomes of their messages; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(FAILURE_PAUSE_MAX);
            }
        }
    }
}

/// Tells some members of a room what they have to be told; answers whether there were any.
async fn tell_next(rooms: &Rooms, notices: &Notices) -> Result<bool, NoticeError> {
    let Some(notice) = rooms.next_notice().await? else { return Ok(false) };
    // Who speaks in the rooms of notices need not be told of them, and neither need those who get them there.
    if !notice.creator.as_ref().is_some_and(|creator| notices.is_sender(creator)) {
        for user in notice.users.iter().filter(|user| !notices.is_sender(user)) {
            tell(notices, &notice, user).await?;
            sleep(PAUSE).await;
        }
    }
    rooms.note_told(&notice.told()).await?;
    Ok(true)
}

async fn tell(notices: &Notices, notice: &RetentionNotice, user: &OwnedUserId) -> Result<(), NoticeError> {
    let content = json!({ "msgtype": "m.text", "body": text(notice) });
    let content = to_raw_value(&content).map_err(|error| RoomError::BadContent(error.to_string()))?;
    let transaction = OwnedTransactionId::from(format!("{}-{user}", notice.transaction));
    let sent = Notice { user, kind: "m.room.message", state_key: None, content, transaction: Some(&transaction) };
    match notices.send(sent).await {
        // Deactivated, or it cannot be invited: nobody to tell.
        Ok(_) | Err(NoticeError::UnknownUser | NoticeError::Rooms(RoomError::Forbidden(_))) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What members are told.
fn text(notice: &RetentionNotice) -> String {
    let room = match &notice.name {
        Some(name) => format!("\"{name}\" ({})", notice.room),
        None => notice.room.to_string(),
    };
    let day = timestamp::format(notice.due_ms).chars().take("2026-01-01".len()).collect::<String>();
    let kept = notice.max_ms.map(term).unwrap_or_default();
    match notice.warning {
        Warning::Shorter => {
            format!("From now on messages in {room} are kept for {kept}. Older ones are deleted from {day} on.")
        }
        Warning::First => format!("Messages in {room} are kept for {kept}. The first of them are deleted on {day}."),
        Warning::Inactive => format!(
            "Nobody has written in {room} for a long time. Its messages and files are deleted on {day}, unless somebody \
             writes there before."
        ),
        Warning::Unused => format!(
            "Nobody has written in {room} for a long time. The room is removed on {day}, unless somebody writes there \
             before."
        ),
    }
}

/// A length of time in words.
fn term(ms: u64) -> String {
    let (count, unit) = match ms {
        0..HOUR_MS => (ms / 1_000, "second"),
        HOUR_MS..DAY_MS => (ms / HOUR_MS, "hour"),
        _ => (ms / DAY_MS, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, HOUR_MS, term};

    #[test]
    fn terms_are_told_in_words() {
        let told = [5_000, HOUR_MS, 3 * HOUR_MS, DAY_MS, 365 * DAY_MS + HOUR_MS].map(term);
        assert_eq!(told, ["5 seconds", "1 hour", "3 hours", "1 day", "365 days"]);
    }
}
