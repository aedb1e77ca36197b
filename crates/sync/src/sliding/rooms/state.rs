//! The state that a room is told with, and what of it goes into the room's summary.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use ruma::{OwnedUserId, events::StateEventType};
use serde::{Deserialize, Serialize};
use wardroom_rooms::{EventNid, Root, StateChange, StateWhich, Stored};

use super::{
    super::{lists::RoomText, required_state::RequiredState},
    Telling,
};
use crate::{
    SyncError,
    response::{Object, write_json},
    rooms::Timeline,
};

/// Memberships of one room that are remembered as told; the oldest are told again when there are more.
const MEMBERS_PER_ROOM_MAX: usize = 200;

/// A room's state before and after what is told.
#[derive(Debug)]
pub(super) struct States {
    /// Where the client knows the room up to; [`Root::EMPTY`] where it does not.
    pub(super) known: Root,
    pub(super) end: Root,
    /// What differs; not looked at where everything is told.
    changes: Vec<StateChange>,
}

/// A member who names a room that has no name (MSC4186, `Hero`).
#[derive(Serialize)]
struct Hero {
    user_id: OwnedUserId,
    #[serde(flatten)]
    profile: Profile,
}

#[derive(Default, Deserialize, Serialize)]
struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// State of which nothing is left but its place (MSC4186, `StateStub`).
#[derive(Serialize)]
struct Stub<'a> {
    #[serde(rename = "type")]
    kind: String,
    state_key: &'a str,
}

/// State that is told.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    events: Vec<Arc<Stored>>,
    /// What was there and is gone.
    gone: Vec<Arc<Stored>>,
}

impl Telling<'_> {
    pub(super) async fn states(&self, known: Root, end: Root) -> Result<States, SyncError> {
        let rooms = &self.hearing.syncer.rooms;
        let changes = if self.before.is_none() || known == end {
            Vec::new()
        } else {
            rooms.state_difference(self.view.nid, known, end).await?
        };
        Ok(States { known, end, changes })
    }

    /// The state that is told: all that is wanted, or what of it changed; and all that was not wanted before.
    pub(super) async fn wanted(&self, states: &States) -> Result<Wanted, SyncError> {
        let required = &*self.config.required;
        let Some(before) = self.before else {
            return Ok(Wanted { events: self.matching(states.end, required).await?, gone: Vec::new() });
        };
        let mut wanted = self.changed(states, required).await?;
        if before.wish != self.config.wish {
            let knew = self.asked.wish(before.wish);
            if knew.is_none_or(|knew| required.exceeds(knew)) {
                let mut more = self.matching(states.end, required).await?;
                more.retain(|stored| !knew.is_some_and(|knew| wants(knew, stored)));
                wanted.events.extend(more);
            }
        }
        Ok(wanted)
    }

    /// All of a state that is wanted.
    async fn matching(&self, root: Root, required: &RequiredState) -> Result<Vec<Arc<Stored>>, SyncError> {
        let (rooms, nid, reach) = (&self.hearing.syncer.rooms, self.view.nid, required.reach());
        let mut found = Vec::new();
        if reach.others {
            found = rooms.state(nid, root, StateWhich::WithoutMembers).await?;
            found.retain(|stored| wants(required, stored));
        }
        if reach.members {
            found.extend(rooms.state(nid, root, StateWhich::Members).await?);
        }
        let mut slots = Vec::new();
        for (kind, state_key) in required.named() {
            slots.extend(rooms.slot(&StateEventType::from(kind), state_key).await?);
        }
        found.extend(rooms.events_at(nid, root, &slots).await?);
        Ok(found)
    }

    /// What of the changes is wanted.
    async fn changed(&self, states: &States, required: &RequiredState) -> Result<Wanted, SyncError> {
        let rooms = &self.hearing.syncer.rooms;
        let mut new: Vec<EventNid> = states.changes.iter().filter_map(|change| change.new).collect();
        // In the order in which the events came.
        new.sort_unstable();
        let mut events = rooms.events(self.view.nid, &new).await?;
        events.retain(|stored| wants(required, stored));
        let gone: Vec<EventNid> =
            states.changes.iter().filter(|change| change.new.is_none()).filter_map(|change| change.old).collect();
        let mut gone = rooms.events(self.view.nid, &gone).await?;
        gone.retain(|stored| wants(required, stored));
        Ok(Wanted { events, gone })
    }

    /// Memberships that lazy loading tells: those of who appears in the timeline, and without a gap, those that changed;
    /// none that the client has. Gives the memberships that the client has then.
    pub(super) async fn add_lazy_members(
        &self,
        states: &States,
        timeline: &Timeline,
        wanted: &mut Wanted,
    ) -> Result<Arc<[EventNid]>, SyncError> {
        let had = self.before.map(|before| Arc::clone(&before.members)).unwrap_or_default();
        if !self.config.required.lazy_members {
            return Ok(had);
        }
        let rooms = &self.hearing.syncer.rooms;
        let mut users: BTreeSet<OwnedUserId> = BTreeSet::new();
        for item in &timeline.items {
            let pdu = &item.event.pdu;
            users.insert(pdu.sender().to_owned());
            let target = pdu.state_key().filter(|_| pdu.membership().is_some());
            users.extend(target.and_then(|target| OwnedUserId::try_from(target).ok()));
        }
        let mut members = rooms.member_events(self.view.nid, states.end, users.iter()).await?;
        if !timeline.limited {
            let changed = states.changes.iter().filter(|change| change.slot.user().is_some());
            let changed: Vec<EventNid> = changed.filter_map(|change| change.new).collect();
            members.extend(rooms.events(self.view.nid, &changed).await?);
        }
        members.retain(|member| !had.contains(&member.nid));
        if members.is_empty() {
            return Ok(had);
        }
        let mut seen = HashSet::new();
        let told = had.iter().copied().chain(members.iter().map(|member| member.nid));
        let told: Vec<EventNid> = told.filter(|nid| seen.insert(*nid)).collect();
        wanted.events.extend(members);
        Ok(told[told.len().saturating_sub(MEMBERS_PER_ROOM_MAX)..].into())
    }

    /// Tells state, each event once; says what there was of it, gone or not.
    pub(super) fn tell_state(&self, told: &mut Object, mut wanted: Wanted) -> Vec<Arc<Stored>> {
        let mut events = crate::response::Events::default();
        wanted.events.sort_by_key(|stored| stored.nid);
        wanted.events.dedup_by_key(|stored| stored.nid);
        for stored in &wanted.events {
            self.hearing.tell_state_event(&mut events, stored);
        }
        for stored in &wanted.gone {
            let state_key = stored.pdu.state_key().unwrap_or_default();
            write_json(events.next(), &Stub { kind: stored.pdu.kind().to_string(), state_key });
        }
        if !events.is_empty() {
            told.raw("required_state", &events.end());
        }
        wanted.events.extend(wanted.gone);
        wanted.events
    }

    /// Tells name, avatar, heroes and numbers of members, as far as they are news; says whether any was.
    pub(super) async fn tell_summary(&self, told: &mut Object, states: &States) -> Result<bool, SyncError> {
        let (syncer, nid) = (self.hearing.syncer, self.view.nid);
        let initial = self.before.is_none();
        if !initial && states.changes.is_empty() {
            return Ok(false);
        }
        let name = syncer.room_text(nid, states.end, RoomText::Name).await?;
        let avatar = syncer.room_text(nid, states.end, RoomText::Avatar).await?;
        let (mut named, mut pictured) = (name.is_some(), avatar.is_some());
        if !initial {
            named = name != syncer.room_text(nid, states.known, RoomText::Name).await?;
            pictured = avatar != syncer.room_text(nid, states.known, RoomText::Avatar).await?;
        }
        if named {
            told.value("name", &name);
        }
        if pictured {
            told.value("avatar", &avatar);
        }
        let peopled = initial || states.changes.iter().any(|change| change.slot.user().is_some());
        if name.is_none() && (peopled || named) {
            told.value("heroes", &self.heroes(states.end).await?);
        }
        if peopled {
            told.value("joined_count", &self.view.joined);
            told.value("invited_count", &self.view.invited);
        }
        Ok(named || pictured || peopled)
    }

    async fn heroes(&self, root: Root) -> Result<Vec<Hero>, SyncError> {
        let members = self.hearing.hero_events(self.view.nid, root).await?;
        let heroes = members.iter().filter_map(|member| {
            let user_id = OwnedUserId::try_from(member.pdu.state_key()?).ok()?;
            Some(Hero { user_id, profile: member.pdu.content_as().unwrap_or_default() })
        });
        Ok(heroes.collect())
    }

    /// The user's own membership event, which clients need to see that they are not in the room any more.
    pub(super) async fn add_own_member(&self, wanted: &mut Wanted) -> Result<(), SyncError> {
        let own = [self.scoped.entry.event];
        wanted.events.extend(self.hearing.syncer.rooms.events(self.view.nid, &own).await?);
        Ok(())
    }
}

fn wants(required: &RequiredState, stored: &Stored) -> bool {
    required.wants(&stored.pdu.kind().to_string(), stored.pdu.state_key().unwrap_or_default())
}
