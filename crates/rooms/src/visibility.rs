//! History visibility (specification, client-server API, module "Room history visibility").

use ruma::events::room::history_visibility::HistoryVisibility;
use serde::Deserialize;
use wardroom_event::Pdu;

use crate::tables::Membership;

/// Who may see an event, as the room's state said when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Who was joined.
    Joined,
    /// Who was at least invited.
    Invited,
    /// Who is a member at any time after.
    Shared,
    /// Everybody.
    WorldReadable,
}

impl Visibility {
    /// What an `m.room.history_visibility` event says; `shared` where there is none or it says nothing known.
    pub(crate) fn of(event: Option<&Pdu>) -> Self {
        #[derive(Deserialize)]
        struct Content {
            history_visibility: HistoryVisibility,
        }
        match event.and_then(|event| event.content_as::<Content>().ok()).map(|content| content.history_visibility) {
            Some(HistoryVisibility::WorldReadable) => Self::WorldReadable,
            Some(HistoryVisibility::Invited) => Self::Invited,
            Some(HistoryVisibility::Joined) => Self::Joined,
            _ => Self::Shared,
        }
    }

    /// Whether somebody sees an event sent under this visibility, given the membership when it was sent and whether
    /// that user was joined at any time from then on.
    pub(crate) const fn shows(self, membership_then: Option<Membership>, joined_after: bool) -> bool {
        match (self, membership_then) {
            (Self::WorldReadable, _) | (_, Some(Membership::Join)) => true,
            (Self::Shared, _) => joined_after,
            (Self::Invited, Some(Membership::Invite)) => true,
            (Self::Invited | Self::Joined, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Visibility::{Invited, Joined, Shared, WorldReadable};
    use crate::tables::Membership;

    #[test]
    fn follows_the_rules_of_the_specification() {
        let (join, invite, leave) = (Some(Membership::Join), Some(Membership::Invite), Some(Membership::Leave));
        for visibility in [Joined, Invited, Shared, WorldReadable] {
            assert!(visibility.shows(join, false), "rule 2: members see");
            assert_eq!(
                visibility.shows(None, false),
                visibility == WorldReadable,
                "rule 1: strangers see world_readable"
            );
            assert_eq!(visibility.shows(leave, true), visibility >= Shared, "rule 3: later members see shared");
            assert_eq!(visibility.shows(invite, false), matches!(visibility, Invited | WorldReadable), "rule 4");
        }
    }
}
