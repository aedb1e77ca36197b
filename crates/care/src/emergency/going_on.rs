//! Looks after the emergencies that go on: finishes what was begun, ends what is over, undoes what has ended.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use wardroom_rooms::{Membership, RoomError, RoomNid, WATCH_POLICIES, WATCH_USER};
use wardroom_store::WatchKey;

use super::{
    EndedWhy,
    effects::is_passing,
    grants::{Grant, Pass, Stage, Working},
};
use crate::{Care, CareError, alarms::AlarmKind, gate::policy_of, policy::RoomPolicy, tables::WATCH_ROLES};

/// The longest sleep: a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// The shortest time between two looks, however much happens.
const SLEEP_MIN: Duration = Duration::from_millis(100);
/// How long to wait after a failure.
const FAILURE_PAUSE_MS: u64 = 5_000;
/// Emergencies that are worked on at once.
const AT_ONCE: usize = 8;
/// A review is due so many days after the beginning. It is looked for those that are due once a day.
const REVIEW_WITHIN_DAYS: u64 = 3;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Emergencies without a review that are counted.
const UNREVIEWED_MAX: usize = 1_000;

/// What is to be done about an emergency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The user is to be let in.
    LetIn,
    /// Everybody is to be told.
    Tell,
    /// It is over.
    End(EndedWhy),
    /// The user is to be put out.
    Undo,
}

impl Care {
    /// Works until the server stops.
    pub async fn run_emergencies(&self) {
        let (mut tasks, slots) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        let mut reviews_at_ms = 0;
        loop {
            let users = self.0.judge.grants().idle().into_iter();
            let users = users.map(|(_, _, grant)| WatchKey { kind: WATCH_USER, id: grant.nid.get() });
            // Before the look, so that nothing is missed: roles, policies, memberships and accounts of those concerned.
            let keys: Vec<WatchKey> = users.chain([WATCH_ROLES, WATCH_POLICIES]).collect();
            let mut happened = self.0.store.watches().waiter(keys);
            for (room, user, grant) in self.0.judge.grants().idle() {
                self.look_after(room, user, grant, (&mut tasks, &slots)).await;
            }
            while tasks.try_join_next().is_some() {}
            if self.now_ms() >= reviews_at_ms {
                reviews_at_ms = self.now_ms().saturating_add(DAY_MS);
                self.look_for_reviews().await;
            }
            sleep(SLEEP_MIN).await;
            tokio::select! {
                () = happened.changed() => {}
                () = self.0.judge.grants().changed() => {}
                () = sleep(self.until_next()) => {}
            }
        }
    }

    /// How long nothing has to be done by itself.
    fn until_next(&self) -> Duration {
        let now_ms = self.now_ms();
        let due_ms = |grant: &Grant| match grant.stage {
            Stage::Told => grant.until_ms.max(grant.not_before_ms),
            Stage::Begun | Stage::Entered | Stage::Ended => grant.not_before_ms,
        };
        let next_ms = self.0.judge.grants().idle().iter().map(|(_, _, grant)| due_ms(grant)).min();
        let next = next_ms.map_or(SLEEP_MAX, |next_ms| Duration::from_millis(next_ms.saturating_sub(now_ms)));
        next.min(SLEEP_MAX)
    }

    async fn look_after(
        &self,
        room: RoomNid,
        user: OwnedUserId,
        grant: Grant,
        (tasks, slots): (&mut JoinSet<()>, &Arc<Semaphore>),
    ) {
        if self.now_ms() < grant.not_before_ms {
            return;
        }
        let due = match self.due_of(room, &user, &grant).await {
            Ok(None) => return,
            Ok(Some(due)) => due,
            Err(error) => {
                tracing::warn!(%error, emergency = grant.id, "it could not be seen whether an emergency goes on");
                return self.put_off(room, &user, grant.id);
            }
        };
        let Some(working) = self.0.judge.grants().work_on(room, &user, grant.id) else { return };
        let (care, slots) = (self.clone(), Arc::clone(slots));
        tasks.spawn(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire_owned().await;
            care.do_what_is_due((room, &user, grant.id), due, working).await;
        });
    }

    fn put_off(&self, room: RoomNid, user: &UserId, id: u64) {
        let not_before_ms = self.now_ms().saturating_add(FAILURE_PAUSE_MS);
        self.0.judge.grants().change(room, user, id, |grant| grant.not_before_ms = not_before_ms);
    }

    async fn do_what_is_due(&self, (room, user, id): (RoomNid, &UserId, u64), due: Due, working: Working) {
        let done = match due {
            Due::LetIn => self.let_in_again(id, user).await,
            Due::Tell => self.tell_everybody(id, user).await,
            Due::End(why) => self.record_end(id, why, None).await.map(drop),
            Due::Undo => self.finish_end(id, user).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, emergency = id, "what is to be done about an emergency failed; trying again");
            self.put_off(room, user, id);
        }
        drop(working);
    }

    /// Why an emergency is over, or what is left to do about it.
    async fn due_of(&self, room: RoomNid, user: &UserId, grant: &Grant) -> Result<Option<Due>, CareError> {
        if grant.stage == Stage::Ended {
            return Ok(Some(Due::Undo));
        }
        if let Some(why) = self.over(room, user, grant).await? {
            return Ok(Some(Due::End(why)));
        }
        Ok(match grant.stage {
            Stage::Begun => Some(Due::LetIn),
            Stage::Entered => Some(Due::Tell),
            Stage::Told | Stage::Ended => None,
        })
    }

    async fn over(&self, room: RoomNid, user: &UserId, grant: &Grant) -> Result<Option<EndedWhy>, CareError> {
        let account = self.0.accounts.user(user).await?.filter(|account| !account.deactivated);
        let moderation = self.0.accounts.moderation(user).await?.unwrap_or_default();
        if account.is_none() || moderation.suspended || moderation.locked || !self.0.judge.is_there(user) {
            return Ok(Some(EndedWhy::AccountClosed));
        }
        let view = match self.0.rooms.view_of(room).await {
            Err(RoomError::NoSuchRoom) => return Ok(Some(EndedWhy::PolicyChanged)),
            view => view?,
        };
        let Some(RoomPolicy::Known(policy)) = policy_of(&view) else { return Ok(Some(EndedWhy::PolicyChanged)) };
        if self.0.judge.meets(user, policy) {
            return Ok(Some(EndedWhy::RoleGained));
        }
        if policy.break_glass.is_none() {
            return Ok(Some(EndedWhy::PolicyChanged));
        }
        if self.0.judge.pass(room, user, policy) != Pass::Open {
            return Ok(Some(EndedWhy::Expired));
        }
        let entry = self.0.rooms.membership(grant.nid, room).await?;
        Ok(match entry {
            Some(entry) if grant.stage != Stage::Begun && entry.membership != Membership::Join => {
                Some(if entry.by_self { EndedWhy::EndedByUser } else { EndedWhy::Removed })
            }
            _ => None,
        })
    }

    /// Where the server stopped before.
    async fn let_in_again(&self, id: u64, user: &UserId) -> Result<(), CareError> {
        let Some(row) = self.record(id).await?.filter(|row| row.end.is_none()) else { return Ok(()) };
        let view = self.0.rooms.view_of(row.room).await?;
        match self.let_in(&view, (row.user, user)).await {
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                tracing::info!(%error, emergency = id, "somebody could not be let in in an emergency");
                self.record_end(id, EndedWhy::Failed, None).await.map(drop)
            }
            Ok(()) => self.record_entered(id, false).await,
        }
    }

    async fn tell_everybody(&self, id: u64, user: &UserId) -> Result<(), CareError> {
        let Some(row) = self.record(id).await?.filter(|row| row.end.is_none()) else { return Ok(()) };
        match self.tell_room(id, &row, user).await {
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                let sentence = format!("the room could not be told of an emergency: {error}");
                let view = self.0.rooms.view_of(row.room).await?;
                self.0.alarms.raise(AlarmKind::CannotTell, Some(&view.id), Some(user), &sentence).await;
            }
            Ok(()) => {}
        }
        self.tell_officers(id, &row).await?;
        self.record_entered(id, true).await
    }

    async fn finish_end(&self, id: u64, user: &UserId) -> Result<(), CareError> {
        match self.record(id).await? {
            Some(row) => self.undo(id, &row, user).await,
            None => Ok(()),
        }
    }

    /// Tells administrators of emergencies that nobody has reviewed for long.
    pub(super) async fn look_for_reviews(&self) {
        let before_ms = self.now_ms().saturating_sub(REVIEW_WITHIN_DAYS * DAY_MS);
        let late = match self.unreviewed_since(before_ms).await {
            Ok(late) if late > 0 => late,
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "it could not be seen which emergencies wait for a review"),
        };
        let more = if late < UNREVIEWED_MAX { "" } else { " or more" };
        let sentence =
            format!("emergency accesses that have waited for a review for {REVIEW_WITHIN_DAYS} days: {late}{more}");
        self.0.alarms.raise(AlarmKind::EmergencyUnreviewed, None, None, &sentence).await;
    }

    /// How many emergencies began before that and have no review.
    async fn unreviewed_since(&self, before_ms: u64) -> Result<usize, CareError> {
        let mut late = 0;
        for id in self.unreviewed(UNREVIEWED_MAX).await? {
            match self.record(id).await? {
                Some(row) if row.began_ms < before_ms => late += 1,
                // The numbers grow with time.
                _ => break,
            }
        }
        Ok(late)
    }
}
