//! Power levels that come from roles: the server's own user writes them into the room's `m.room.power_levels`.
//!
//! What was given by a role is remembered, and taken away when the role is gone. A level that somebody gave by hand is
//! left alone where it is higher, and where it was changed since.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::{Map, Value, value::to_raw_value};
use wardroom_event::{PowerLevels, UserPower};
use wardroom_rooms::{Membership, NS_USER, RoomError, RoomNid, RoomView, UserNid};
use wardroom_store::{Batch, Packed, Scan};

use crate::{
    Care, CareError,
    alarms::AlarmKind,
    gate::policy_of,
    policy::{AccessPolicy, LossAction, RoomPolicy},
    tables::POWERS,
};

/// Members of a room who get a level from roles: the event that holds all levels is limited to 64 KiB.
const MEMBERS_WITH_POWER_MAX: usize = 500;
/// Members read at once.
const PAGE: usize = 1_000;
/// The level of those who may only read.
const READ_ONLY_LEVEL: i64 = -1;

type Levels = BTreeMap<OwnedUserId, (UserNid, i64)>;

/// What has to change in a room.
#[derive(Debug, Default)]
struct Changes {
    /// The levels of users afterwards.
    users: Map<String, Value>,
    /// Whether that is something else than now.
    changed: bool,
    /// Whose level comes from a role from now on.
    given: Vec<(UserNid, i64)>,
    /// Whose does not any more.
    taken: Vec<UserNid>,
}

/// Who may have which level by whom.
struct Powers<'a> {
    levels: PowerLevels<'a>,
    own: UserPower,
    default: i64,
}

impl Powers<'_> {
    /// Whether the server's own user may change this user's level to that one (authorization rules of power levels).
    fn can_set(&self, user: &UserId, level: i64) -> bool {
        match (self.own, self.levels.of(user)) {
            (_, UserPower::Infinite) => false,
            (UserPower::Infinite, UserPower::Int(_)) => true,
            (UserPower::Int(own), UserPower::Int(now)) => level <= own && now < own,
        }
    }
}

impl RoomPolicy {
    /// Whether it says who has which power.
    pub(crate) fn gives_powers(&self) -> bool {
        match self {
            Self::Known(policy) => !policy.power.is_empty() || policy.on_loss.action == LossAction::ReadOnly,
            Self::Unknown { .. } => false,
        }
    }
}

impl Care {
    /// Brings the power levels of a room in step with its policy and the roles of its members.
    pub(crate) async fn settle_powers(&self, room: RoomNid) -> Result<(), CareError> {
        let view = self.0.rooms.view_of(room).await?;
        let policy = match policy_of(&view) {
            // What cannot be read takes nothing away.
            Some(RoomPolicy::Unknown { .. }) => return Ok(()),
            Some(RoomPolicy::Known(policy)) => Some(&**policy),
            None => None,
        };
        let given = self.powers_given(room).await?;
        if given.is_empty() && !policy_of(&view).is_some_and(RoomPolicy::gives_powers) {
            return Ok(());
        }
        let wanted = match policy {
            Some(policy) => self.powers_wanted(&view, policy).await?,
            None => Levels::new(),
        };
        let state = &StateEventType::RoomPowerLevels;
        let event = self.0.rooms.state_event(room, view.state, state, "").await?;
        let create = self.0.rooms.events(room, &[view.create]).await?.pop().ok_or(CareError::NoSuchRoom)?;
        let levels = PowerLevels::new(event.as_ref().map(|event| &*event.pdu), &create.pdu);
        let mut content: Map<String, Value> =
            event.as_ref().and_then(|event| event.pdu.content_as().ok()).unwrap_or_default();
        let default = content.get("users_default").and_then(Value::as_i64).unwrap_or(0);
        let powers = Powers { own: levels.of(self.0.service.id()), levels, default };
        let users = content.get("users").and_then(Value::as_object).cloned().unwrap_or_default();
        let changes = compare(users, &powers, &wanted, &given);
        if changes.changed {
            content.insert("users".to_owned(), changes.users.clone().into());
        }
        self.carry_out(&view, &changes, &content).await
    }

    /// First what is given is remembered, last what was taken is forgotten: after a crash in between it is done again.
    async fn carry_out(
        &self,
        room: &RoomView,
        changes: &Changes,
        content: &Map<String, Value>,
    ) -> Result<(), CareError> {
        let mut batch = Batch::default();
        for (user, level) in &changes.given {
            batch.put(&POWERS, &(room.nid, *user), &Packed(*level));
        }
        if !batch.is_empty() {
            self.0.store.commit(batch).await?;
        }
        if changes.changed {
            let content = to_raw_value(content).map_err(|error| RoomError::BadContent(error.to_string()))?;
            if let Err(error) = self.0.service.set_state(room, &StateEventType::RoomPowerLevels, content).await {
                let sentence = format!("power levels could not be brought in step with roles: {error}");
                self.0.alarms.raise(AlarmKind::ServiceUserWithoutPower, Some(&room.id), None, &sentence).await;
                return Ok(());
            }
        }
        let mut batch = Batch::default();
        for user in &changes.taken {
            batch.delete(&POWERS, &(room.nid, *user));
        }
        if !batch.is_empty() {
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }

    /// The levels that members have by roles so far.
    async fn powers_given(&self, room: RoomNid) -> Result<Levels, CareError> {
        let scan = Scan::prefix(&room).limit(2 * MEMBERS_WITH_POWER_MAX);
        let rows = self.0.store.latest().scan(&POWERS, scan).await?;
        let nids: Vec<u64> = rows.iter().map(|((_, user), _)| user.get()).collect();
        let names = self.0.store.interner().resolve_many(NS_USER, &nids).await?;
        let named = rows.into_iter().zip(names);
        Ok(named
            .filter_map(|(((_, nid), Packed(level)), name)| Some((OwnedUserId::try_from(&*name?).ok()?, (nid, level))))
            .collect())
    }

    /// The levels that members are to have by roles.
    async fn powers_wanted(&self, room: &RoomView, policy: &AccessPolicy) -> Result<Levels, CareError> {
        let (mut wanted, mut after) = (Levels::new(), None);
        loop {
            let members = self.0.rooms.members(room.nid, Membership::Join, after, PAGE).await?;
            let nids: Vec<u64> = members.iter().map(|user| user.get()).collect();
            let names = self.0.store.interner().resolve_many(NS_USER, &nids).await?;
            for (nid, name) in members.iter().zip(names) {
                let Some(user) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) else { continue };
                let level = self.power_wanted(room.nid, &user, policy);
                wanted.extend(level.map(|level| (user, (*nid, level))));
            }
            match members.last() {
                Some(last) if members.len() == PAGE => after = Some(*last),
                _ => break,
            }
        }
        if wanted.len() > MEMBERS_WITH_POWER_MAX {
            let sentence = format!(
                "roles would give a power level to more than {MEMBERS_WITH_POWER_MAX} members: the rest get none"
            );
            self.0.alarms.raise(AlarmKind::ServiceUserWithoutPower, Some(&room.id), None, &sentence).await;
            wanted = wanted.into_iter().take(MEMBERS_WITH_POWER_MAX).collect();
        }
        Ok(wanted)
    }

    fn power_wanted(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> Option<i64> {
        let judge = &self.0.judge;
        if judge.is_service(user) {
            return None;
        }
        if !judge.admits(room, user, policy) {
            return (policy.on_loss.action == LossAction::ReadOnly).then_some(READ_ONLY_LEVEL);
        }
        let holder = judge.roles().of(user)?;
        let roles = judge.counted(&holder, user, Some(policy));
        let rule = policy.power.iter().find(|rule| roles.iter().any(|role| rule.holder_of.is_met_by(role)));
        rule.map(|rule| rule.level)
    }
}

/// What has to change, of the levels that users have in the room now.
fn compare(users: Map<String, Value>, powers: &Powers<'_>, wanted: &Levels, given: &Levels) -> Changes {
    let mut changes = Changes { users, ..Changes::default() };
    for (user, (nid, level)) in wanted {
        let now = changes.users.get(user.as_str()).and_then(Value::as_i64);
        let by_role = given.get(user).map(|(_, level)| *level);
        let by_hand = now.is_some_and(|now| by_role != Some(now) && now > *level);
        let is_so = now.unwrap_or(powers.default) == *level;
        if by_hand || is_so || !powers.can_set(user, *level) {
            continue;
        }
        changes.users.insert(user.to_string(), (*level).into());
        changes.changed = true;
        changes.given.push((*nid, *level));
    }
    for (user, (nid, level)) in given.iter().filter(|(user, _)| !wanted.contains_key(*user)) {
        let is_ours = changes.users.get(user.as_str()).and_then(Value::as_i64) == Some(*level);
        if is_ours && powers.can_set(user, powers.default) {
            changes.users.remove(user.as_str());
            changes.changed = true;
        }
        changes.taken.push(*nid);
    }
    changes
}
