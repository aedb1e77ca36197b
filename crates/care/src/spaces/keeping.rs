//! Keeps the members of a space those who have its role.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::{Map, Value};
use wardroom_rooms::{
    KeptMember, Membership, MembershipEntry, NS_USER, ROLE_LOST, RoomError, RoomNid, RoomView, TaskStatus, UserNid,
    Work,
};
use wardroom_store::{Batch, Packed, Position};

use super::RoleSpace;
use crate::{Care, CareError, alarms::AlarmKind, gate::policy_of, tables::OPT_OUTS};

/// What is said to those who are taken out of a space.
const REASON: &str = "The space is for those who have a role that you do not have (any more).";
/// Members read at once.
const PAGE: usize = 1_000;
/// People who left a space by their own will of whom administrators are told one by one, when several are found at once.
const LEFT_TOLD_MAX: usize = 10;

/// Whom to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    /// All members, and all who have the role.
    Everybody,
    /// These.
    These(&'a [OwnedUserId]),
}

/// What is to be done after a look.
#[derive(Debug, Default)]
struct Found {
    moves: Vec<KeptMember>,
    /// People of other servers to be invited.
    afar: Vec<OwnedUserId>,
    /// Who left by their own will, and this was not known.
    left: Vec<(UserNid, OwnedUserId)>,
    /// Who is in again after leaving.
    back: Vec<UserNid>,
}

impl Care {
    /// Looks at every member of every space, and at all who have their roles.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn keep_all_spaces(&self) -> Result<(), CareError> {
        for space in self.0.judge.spaces().all() {
            self.keep(space.room, Who::Everybody).await?;
        }
        Ok(())
    }

    /// Looks at the spaces to which these users' roles, or their memberships, have something to say.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn keep_spaces_of(&self, users: &[OwnedUserId]) -> Result<(), CareError> {
        let spaces = self.0.judge.spaces().all();
        if spaces.is_empty() {
            return Ok(());
        }
        let mut concerned: HashMap<RoomNid, Vec<OwnedUserId>> = HashMap::new();
        for user in users {
            let mut rooms = BTreeSet::new();
            if let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) {
                let there = self.0.rooms.memberships(nid).await?.into_iter();
                rooms.extend(there.filter(|entry| is_there(entry.membership)).map(|entry| entry.room));
            }
            for space in &spaces {
                if rooms.contains(&space.room) || self.0.judge.belongs_to(user, space) {
                    concerned.entry(space.room).or_default().push(user.clone());
                }
            }
        }
        for (room, users) in concerned {
            self.keep(room, Who::These(&users)).await?;
        }
        Ok(())
    }

    /// Looks at those who came to a space or went from it, and returns those who are to be looked at otherwise.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn keep_arrivals(
        &self,
        arrivals: &[((RoomNid, UserNid), Position)],
    ) -> Result<Vec<(RoomNid, UserNid)>, CareError> {
        let (mut others, mut by_room): (Vec<_>, HashMap<RoomNid, Vec<UserNid>>) = (Vec::new(), HashMap::new());
        for ((room, user), _) in arrivals {
            match self.0.judge.spaces().of_room(*room) {
                Some(_) => by_room.entry(*room).or_default().push(*user),
                None => others.push((*room, *user)),
            }
        }
        for (room, users) in by_room {
            self.keep(room, Who::These(&self.0.rooms.user_ids(&users).await?)).await?;
            if self.0.rooms.view_of(room).await.is_ok_and(|view| policy_of(&view).is_some()) {
                others.extend(users.into_iter().map(|user| (room, user)));
            }
        }
        Ok(others)
    }

    /// Where a room is the space of a role, compares its members with those who have the role, and brings in and out whom
    /// it has to. One that cannot be kept any more is not fought over: nobody is brought in, and who can be brought out
    /// without power is.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn keep(&self, room: RoomNid, who: Who<'_>) -> Result<(), CareError> {
        let spaces = self.0.judge.spaces();
        let Some(space) = spaces.of_room(room) else { return Ok(()) };
        let _alone = Arc::clone(&space.keeping).lock_owned().await;
        // As it is now: it may have been turned off meanwhile.
        let Some(space) = spaces.of_room(room) else { return Ok(()) };
        let trouble = self.trouble_with(&space).await?;
        self.tell_of_trouble(&space, trouble).await?;
        let Ok(view) = self.0.rooms.view_of(room).await else { return Ok(()) };
        let found = match who {
            Who::These(users) => self.look(&space, users).await?,
            Who::Everybody => self.look(&space, &self.everybody(&space).await?).await?,
        };
        self.note(&view, &found).await?;
        let Found { mut moves, afar, .. } = found;
        if trouble.is_some() {
            moves.retain(|change| matches!(change, KeptMember::Goes(..)));
        } else {
            spaces.invitations.ask_for(room, afar, self.now_ms());
        }
        if moves.is_empty() {
            return Ok(());
        }
        let goes: BTreeSet<OwnedUserId> = moves.iter().filter_map(going).cloned().collect();
        let refused = match self.0.rooms.keep_members(self.0.service.id(), &view.id, moves).await {
            // Destroyed at this moment: the next look tells of it.
            Err(RoomError::NoSuchRoom) => return Ok(()),
            refused => refused?,
        };
        for (user, error) in refused {
            let (kind, sentence) = match goes.contains(&user) {
                true => (AlarmKind::CannotRemove, "somebody without the role could not be taken out of its space"),
                false => (AlarmKind::SpaceIncomplete, "somebody with the role could not be brought into its space"),
            };
            self.0.alarms.raise(kind, Some(&view.id), Some(&user), &format!("{sentence}: {error}")).await;
        }
        Ok(())
    }

    /// Why a space cannot be kept any more; none where it can.
    pub(super) async fn trouble_with(&self, space: &RoleSpace) -> Result<Option<&'static str>, CareError> {
        let view = match self.0.rooms.view_of(space.room).await {
            Err(RoomError::NoSuchRoom) => return Ok(Some("the space is not there any more")),
            view => view?,
        };
        if !self.0.service.is_able(&view).await? {
            return Ok(Some("the server's own user is not in the space any more, or has no power in it"));
        }
        let replaced = self.content_of(&view, &StateEventType::RoomTombstone).await?.is_some();
        Ok(replaced.then_some("the space was replaced by another room"))
    }

    /// Tells administrators of it once.
    async fn tell_of_trouble(&self, space: &RoleSpace, trouble: Option<&'static str>) -> Result<(), CareError> {
        let lost = &self.0.judge.spaces().lost;
        let Some(trouble) = trouble else {
            lost.lock().remove(&space.room);
            return Ok(());
        };
        if space.on && lost.lock().insert(space.room) {
            let id = self.0.rooms.room_id(space.room).await?;
            let sentence = format!("the space of the role {} is not kept any more: {trouble}", space.requirement);
            self.0.alarms.raise(AlarmKind::SpaceLost, id.as_deref(), None, &sentence).await;
        }
        Ok(())
    }

    /// Members of a space, and who has its role.
    async fn everybody(&self, space: &RoleSpace) -> Result<Vec<OwnedUserId>, CareError> {
        let mut users = BTreeSet::new();
        if space.on {
            users.extend(self.0.judge.roles().holders_of(&space.requirement, None, usize::MAX));
        }
        for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
            let mut after = None;
            loop {
                let members = self.0.rooms.members(space.room, membership, after, PAGE).await?;
                users.extend(self.0.rooms.user_ids(&members).await?);
                match members.last() {
                    Some(last) if members.len() == PAGE => after = Some(*last),
                    _ => break,
                }
            }
        }
        Ok(users.into_iter().collect())
    }

    async fn look(&self, space: &RoleSpace, users: &[OwnedUserId]) -> Result<Found, CareError> {
        let mut found = Found::default();
        for user in users.iter().filter(|user| !self.0.judge.is_service(user)) {
            self.look_into(space, user, &mut found).await?;
        }
        Ok(found)
    }

    /// Compares what one user is in a space with what they are to be.
    async fn look_into(&self, space: &RoleSpace, user: &OwnedUserId, found: &mut Found) -> Result<(), CareError> {
        let nid = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new);
        let entry = match nid {
            Some(nid) => self.0.rooms.membership(nid, space.room).await?,
            None => None,
        };
        let membership = entry.as_ref().map(|entry| entry.membership);
        if !self.is_wanted(space, user).await? {
            if membership.is_some_and(is_there) {
                found.moves.push(KeptMember::Goes(user.clone(), REASON));
            }
            return Ok(());
        }
        match (membership, nid.zip(entry)) {
            (Some(Membership::Ban), _) => return Ok(()),
            (Some(Membership::Join), Some((nid, _))) => return self.is_back(space, nid, found).await,
            (Some(Membership::Leave), Some((nid, entry))) if self.left_by_hand(space.room, &entry).await? => {
                if self.opted_out(space.room, nid).await?.is_none() {
                    found.left.push((nid, user.clone()));
                }
                return Ok(());
            }
            _ => {}
        }
        if !self.is_ours(user) {
            found.afar.extend((membership != Some(Membership::Invite)).then(|| user.clone()));
            return Ok(());
        }
        let profile = self.0.service.profile_of(user).await?;
        found.moves.push(KeptMember::Joins(user.clone(), profile));
        Ok(())
    }

    /// Whether somebody is to be in a space now.
    pub(super) async fn is_wanted(&self, space: &RoleSpace, user: &UserId) -> Result<bool, CareError> {
        Ok(self.0.judge.belongs_to(user, space) && (!self.is_ours(user) || self.0.service.has_account(user).await?))
    }

    fn is_ours(&self, user: &UserId) -> bool {
        user.server_name() == self.0.service.id().server_name()
    }

    /// Whether somebody ended their membership by their own will, or somebody else than the server did.
    async fn left_by_hand(&self, room: RoomNid, entry: &MembershipEntry) -> Result<bool, CareError> {
        let Some(event) = self.0.rooms.events(room, &[entry.event]).await?.pop() else { return Ok(false) };
        let content: Map<String, Value> = event.pdu.content_as().unwrap_or_default();
        Ok(!self.0.judge.is_service(event.pdu.sender()) && !content.contains_key(ROLE_LOST))
    }

    pub(super) async fn opted_out(&self, room: RoomNid, user: UserNid) -> Result<Option<u64>, CareError> {
        Ok(self.0.store.latest().get(&OPT_OUTS, &(room, user)).await?.map(|Packed(since_ms)| since_ms))
    }

    async fn is_back(&self, space: &RoleSpace, user: UserNid, found: &mut Found) -> Result<(), CareError> {
        if self.opted_out(space.room, user).await?.is_some() {
            found.back.push(user);
        }
        Ok(())
    }

    /// Keeps who left and who is back, and tells administrators of those who left.
    async fn note(&self, view: &RoomView, found: &Found) -> Result<(), CareError> {
        let mut batch = Batch::default();
        for user in &found.back {
            batch.delete(&OPT_OUTS, &(view.nid, *user));
        }
        // Whoever leaves a room that is being deleted does not do so by their own will.
        let left = match found.left.is_empty() || self.is_being_deleted(view).await? {
            true => &[][..],
            false => &found.left,
        };
        for (user, _) in left {
            batch.put(&OPT_OUTS, &(view.nid, *user), &Packed(self.now_ms()));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.0.store.commit(batch).await?;
        let sentence = "somebody left the space of a role that they have, and is not brought in again";
        for (_, user) in left.iter().take(LEFT_TOLD_MAX) {
            self.0.alarms.raise(AlarmKind::SpaceLeft, Some(&view.id), Some(user), sentence).await;
        }
        if let Some(more) = left.len().checked_sub(LEFT_TOLD_MAX).filter(|more| *more > 0) {
            let sentence = format!("{more} more left the space of a role that they have, and are not brought in again");
            self.0.alarms.raise(AlarmKind::SpaceLeft, Some(&view.id), None, &sentence).await;
        }
        Ok(())
    }

    async fn is_being_deleted(&self, view: &RoomView) -> Result<bool, CareError> {
        let deletes = |task: &wardroom_rooms::Task| {
            let unfinished = !matches!(task.status, TaskStatus::Complete | TaskStatus::Failed);
            unfinished && matches!(task.work, Work::DeleteRoom(_)) && task.work.room() == Some(&*view.id)
        };
        Ok(self.0.rooms.tasks().await?.iter().any(deletes))
    }
}

fn is_there(membership: Membership) -> bool {
    matches!(membership, Membership::Join | Membership::Invite | Membership::Knock)
}

/// Who goes.
fn going(change: &KeptMember) -> Option<&OwnedUserId> {
    match change {
        KeptMember::Goes(user, _) => Some(user),
        KeptMember::Joins(..) => None,
    }
}
