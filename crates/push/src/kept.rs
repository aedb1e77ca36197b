//! What was counted with some effort outlives memory: a tally for which many events were looked at is kept in the store,
//! so that no later one has to look at them again, and none forgets what lies behind the newest.

use ruma::{EventId, OwnedEventId, push::Ruleset};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wardroom_rooms::{Age, Place, RoomNid, UserNid};
use wardroom_store::{Batch, Packed, Store};

use crate::{
    PushError,
    tables::TALLIES,
    tally::{Notice, Tally},
};

/// Events looked at since a tally was kept, from which on it is worth keeping.
pub(crate) const EFFORT_KEPT: usize = 200;

/// A tally at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TallyRow {
    /// Hash of the rules by which it was counted.
    rules: [u8; 32],
    joined: Place,
    up_to: Place,
    notices: Vec<NoticeRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct NoticeRow {
    place: Place,
    thread: Option<String>,
    highlight: bool,
    age: Option<Age>,
}

fn hash(rules: &Ruleset) -> [u8; 32] {
    // Rules that could not be written would be like no others, which costs a count anew.
    Sha256::digest(serde_json::to_vec(rules).unwrap_or_default()).into()
}

/// Reads what was kept, if it was counted by these rules and for this membership.
pub(crate) async fn read(
    store: &Store,
    user: UserNid,
    room: RoomNid,
    fresh: &Tally,
) -> Result<Option<Tally>, PushError> {
    let Some(Packed(row)) = store.latest().get(&TALLIES, &(user, room)).await? else { return Ok(None) };
    if row.joined != fresh.joined || row.up_to < fresh.up_to || row.rules != hash(&fresh.rules) {
        return Ok(None);
    }
    let notices = row.notices.into_iter().map(|notice| {
        let thread = notice.thread.and_then(|root| OwnedEventId::try_from(root).ok());
        Notice { place: notice.place, thread, highlight: notice.highlight, age: notice.age }
    });
    Ok(Some(Tally { up_to: row.up_to, notices: notices.collect(), effort: 0, ..fresh.clone() }))
}

/// Keeps a tally.
pub(crate) async fn keep(store: &Store, user: UserNid, room: RoomNid, tally: &Tally) -> Result<(), PushError> {
    let notices = tally.notices.iter().map(|notice| NoticeRow {
        place: notice.place,
        thread: notice.thread.as_deref().map(EventId::to_string),
        highlight: notice.highlight,
        age: notice.age,
    });
    let (rules, notices) = (hash(&tally.rules), notices.collect());
    let row = TallyRow { rules, joined: tally.joined, up_to: tally.up_to, notices };
    let mut batch = Batch::default();
    batch.put(&TALLIES, &(user, room), &Packed(row));
    store.commit(batch).await?;
    Ok(())
}
