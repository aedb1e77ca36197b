//! What one user's devices add up to.

use std::{sync::Arc, time::Duration};

use ruma::presence::PresenceState;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Who was not active for this long is idle (specification, "Idle timeout").
pub const PRESENCE_IDLE_AFTER: Duration = Duration::from_mins(5);
/// A device counts for this long after its last sync has ended.
pub const PRESENCE_OFFLINE_AFTER: Duration = Duration::from_secs(30);
/// Who was active within this time is shown as currently active; nobody is told of further activity meanwhile.
pub const PRESENCE_ACTIVE_FOR: Duration = Duration::from_mins(1);
/// What another server says of its user counts for this long. Servers say it again well before.
pub const PRESENCE_ELSEWHERE_FOR: Duration = Duration::from_mins(30);
/// Devices of one user that count; beyond it, the one that was seen the longest ago does not.
const DEVICES_MAX: usize = 16;

/// How reachable a user is, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Availability {
    /// No device listens, or none that wants to be seen.
    #[default]
    Offline,
    /// Idle.
    Unavailable,
    /// There.
    Online,
}

impl Availability {
    /// The state that a client names; none for one that the specification does not know.
    pub fn named(state: &PresenceState) -> Option<Self> {
        match state {
            PresenceState::Online => Some(Self::Online),
            PresenceState::Unavailable => Some(Self::Unavailable),
            PresenceState::Offline => Some(Self::Offline),
            _ => None,
        }
    }

    /// The specification's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }
}

/// What others are shown of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) availability: Availability,
    pub(super) currently_active: bool,
    pub(super) status_msg: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct DevicePresence {
    nid: u64,
    /// What the device says of itself: there or idle.
    availability: Availability,
    /// Syncs that are running.
    syncs: u32,
    /// When the last one ended, or the device was heard of otherwise.
    seen: Instant,
}

impl DevicePresence {
    fn counts_until(&self) -> Option<Instant> {
        (self.syncs == 0).then(|| self.seen + PRESENCE_OFFLINE_AFTER)
    }

    fn counts(&self, now: Instant) -> bool {
        self.counts_until().is_none_or(|until| now < until)
    }
}

/// What another server says of its user.
#[derive(Clone, Copy, Debug)]
struct Elsewhere {
    availability: Availability,
    currently_active: bool,
    /// When the server would have said it again.
    until: Instant,
}

/// A user's devices, and what the user says.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    devices: Vec<DevicePresence>,
    /// Of users of other servers, who have no devices here.
    elsewhere: Option<Elsewhere>,
    pub(super) last_active: Option<Instant>,
    pub(super) status_msg: Option<Arc<str>>,
}

impl Person {
    /// Somebody who was there when the server stopped: counts until the devices have had time to come back.
    pub(super) fn returning(was: Availability, last_active: Option<Instant>, now: Instant) -> Self {
        let mut person = Self { last_active, ..Self::default() };
        if was != Availability::Offline {
            person.devices.push(DevicePresence { nid: 0, availability: was, syncs: 0, seen: now });
        }
        person
    }

    /// Another server says how its user is.
    pub(super) fn set_elsewhere(&mut self, availability: Availability, currently_active: bool, now: Instant) {
        self.elsewhere = Some(Elsewhere { availability, currently_active, until: now + PRESENCE_ELSEWHERE_FOR });
    }

    fn device(&mut self, nid: u64, now: Instant) -> &mut DevicePresence {
        self.devices.retain(|device| device.nid == nid || device.counts(now));
        let at = self.devices.iter().position(|device| device.nid == nid).unwrap_or_else(|| {
            if self.devices.len() >= DEVICES_MAX
                && let Some(oldest) = (0..self.devices.len()).min_by_key(|at| self.devices[*at].seen)
            {
                self.devices.swap_remove(oldest);
            }
            self.devices.push(DevicePresence { nid, availability: Availability::Online, syncs: 0, seen: now });
            self.devices.len() - 1
        });
        &mut self.devices[at]
    }

    /// A device begins to sync, as there or as idle.
    pub(super) fn begin_sync(&mut self, nid: u64, availability: Availability, now: Instant) {
        if availability == Availability::Online && !self.devices.iter().any(|device| device.counts(now)) {
            // To come is to be active.
            self.last_active = Some(now);
        }
        let device = self.device(nid, now);
        device.availability = availability;
        device.seen = now;
        device.syncs = device.syncs.saturating_add(1);
    }

    /// A sync that has begun ends.
    pub(super) fn end_sync(&mut self, nid: u64, now: Instant) {
        // A device that said it is offline in the meantime is not there any more.
        if let Some(device) = self.devices.iter_mut().find(|device| device.nid == nid && device.syncs > 0) {
            device.syncs -= 1;
            device.seen = now;
        }
    }

    /// A client says what its user is.
    pub(super) fn set(&mut self, nid: u64, availability: Availability, status_msg: Option<Arc<str>>, now: Instant) {
        self.status_msg = status_msg;
        if availability == Availability::Offline {
            self.devices.retain(|device| device.nid != nid && device.counts(now));
            return;
        }
        let device = self.device(nid, now);
        device.availability = availability;
        device.seen = now;
        if availability == Availability::Online {
            self.last_active = Some(now);
        }
    }

    /// The user does something on a device. Who is offline stays offline.
    pub(super) fn note_active(&mut self, nid: u64, now: Instant) {
        self.last_active = Some(now);
        if let Some(device) = self.devices.iter_mut().find(|device| device.nid == nid && device.counts(now)) {
            device.availability = Availability::Online;
        }
    }

    fn active_within(&self, time: Duration, now: Instant) -> bool {
        self.last_active.is_some_and(|active| now < active + time)
    }

    /// What others are to be shown.
    pub(super) fn shown(&self, now: Instant) -> Shown {
        if let Some(elsewhere) = &self.elsewhere {
            let availability = if now < elsewhere.until { elsewhere.availability } else { Availability::Offline };
            let currently_active = availability == Availability::Online && elsewhere.currently_active;
            return Shown { availability, currently_active, status_msg: self.status_msg.clone() };
        }
        let most = self.devices.iter().filter(|device| device.counts(now)).map(|device| device.availability).max();
        let availability = match most.unwrap_or_default() {
            Availability::Online if !self.active_within(PRESENCE_IDLE_AFTER, now) => Availability::Unavailable,
            other => other,
        };
        let currently_active = availability == Availability::Online && self.active_within(PRESENCE_ACTIVE_FOR, now);
        Shown { availability, currently_active, status_msg: self.status_msg.clone() }
    }

    /// When what is shown may change by itself next.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        if let Some(elsewhere) = &self.elsewhere {
            let lasts = elsewhere.availability != Availability::Offline && elsewhere.until > now;
            return lasts.then_some(elsewhere.until);
        }
        let devices = self.devices.iter().filter_map(DevicePresence::counts_until);
        let active = self.last_active.filter(|_| !self.devices.is_empty());
        let active = active.into_iter().flat_map(|at| [at + PRESENCE_ACTIVE_FOR, at + PRESENCE_IDLE_AFTER]);
        devices.chain(active).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{
        Availability::{Offline, Online, Unavailable},
        DEVICES_MAX, PRESENCE_ACTIVE_FOR, PRESENCE_ELSEWHERE_FOR, PRESENCE_IDLE_AFTER, PRESENCE_OFFLINE_AFTER, Person,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_syncs_is_online_then_idle_and_offline_some_time_after() {
        let (mut person, start) = (Person::default(), Instant::now());
        assert_eq!((person.shown(start).availability, person.next_change(start)), (Offline, None));
        person.begin_sync(1, Online, start);
        let shown = person.shown(start);
        assert!(shown.availability == Online && shown.currently_active);
        let quiet = start + PRESENCE_ACTIVE_FOR;
        assert_eq!(person.next_change(start), Some(quiet));
        assert!(!person.shown(quiet).currently_active && person.shown(quiet).availability == Online);
        let idle = start + PRESENCE_IDLE_AFTER;
        assert_eq!(person.next_change(quiet), Some(idle));
        assert_eq!((person.shown(idle).availability, person.next_change(idle)), (Unavailable, None));
        person.begin_sync(1, Online, idle);
        assert_eq!(person.shown(idle).availability, Unavailable, "listening alone is no activity");
        person.note_active(1, idle);
        assert_eq!(person.shown(idle).availability, Online);
        person.end_sync(1, idle);
        person.end_sync(1, idle);
        let gone = idle + PRESENCE_OFFLINE_AFTER;
        assert_eq!(person.next_change(idle), Some(gone));
        assert_eq!(person.shown(gone - SECOND).availability, Online);
        assert_eq!(person.shown(gone).availability, Offline);
        person.note_active(1, gone);
        assert_eq!(person.shown(gone).availability, Offline);
    }

    #[test]
    fn the_most_reachable_device_counts() {
        let (mut person, now) = (Person::default(), Instant::now());
        person.begin_sync(1, Unavailable, now);
        assert_eq!(person.shown(now).availability, Unavailable);
        person.set(2, Online, Some("In theatre".into()), now);
        let shown = person.shown(now);
        assert_eq!((shown.availability, shown.status_msg.as_deref()), (Online, Some("In theatre")));
        person.set(2, Unavailable, None, now);
        assert_eq!(person.shown(now).availability, Unavailable);
        person.note_active(2, now);
        assert_eq!(person.shown(now).availability, Online);
        person.set(2, Offline, None, now);
        assert_eq!(person.shown(now).availability, Unavailable);
        person.set(1, Offline, None, now);
        assert_eq!(person.shown(now).availability, Offline);
        person.end_sync(1, now);
        assert_eq!(person.shown(now).availability, Offline, "a sync that ends later changes nothing");
    }

    #[test]
    fn what_another_server_says_lasts_a_while() {
        let (mut person, now) = (Person::default(), Instant::now());
        person.set_elsewhere(Online, true, now);
        let shown = person.shown(now);
        assert_eq!((shown.availability, shown.currently_active), (Online, true));
        let end = now + PRESENCE_ELSEWHERE_FOR;
        assert_eq!(person.next_change(now), Some(end));
        assert_eq!((person.shown(end).availability, person.next_change(end)), (Offline, None));
        person.set_elsewhere(Offline, false, end);
        assert_eq!((person.shown(end).availability, person.next_change(end)), (Offline, None));
    }

    #[test]
    fn devices_are_bounded() {
        let (mut person, now) = (Person::default(), Instant::now());
        for nid in 0..3 * DEVICES_MAX as u64 {
            person.begin_sync(nid, Online, now);
        }
        assert_eq!(person.devices.len(), DEVICES_MAX);
    }

    #[test]
    fn who_was_there_before_a_restart_has_time_to_come_back() {
        let now = Instant::now();
        let person = Person::returning(Online, Some(now), now);
        assert_eq!(person.shown(now).availability, Online);
        assert_eq!(person.shown(now + PRESENCE_OFFLINE_AFTER).availability, Offline);
        assert_eq!(Person::returning(Offline, None, now).shown(now).availability, Offline);
    }
}
