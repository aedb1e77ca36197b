//! Rate limits: how often one user or one address may do something (client-server API, section "Rate limiting").
//!
//! The generic cell rate algorithm: per key one number is kept, the time at which the key's budget is whole again.
//! Memory is bounded: keys whose budget is whole are forgotten first, then those closest to it.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::Duration,
};

use parking_lot::Mutex;
use wardroom_accounts::UserNid;
use wardroom_clock::SharedClock;

use crate::ApiError;

/// Keys remembered in all; at 48 bytes each some 3 MB.
const KEYS_MAX: usize = 65_536;

/// The keys lie in as many maps, so that requests seldom wait for each other.
const SHARDS: usize = 16;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Attempts to log in, by address and by account.
    Login,
    /// Failed passwords, by account: look with [`RateLimits::check`] first, count failures with [`RateLimits::take`].
    LoginFailed,
    /// Registrations, by address.
    Registration,
    /// Questions whether a registration token or a user name is free, by address.
    RegistrationQuery,
    /// Messages, state events, redactions, receipts and typing, by user.
    Message,
    /// Joins and knocks, by user.
    Join,
    /// Invitations, by the user who invites.
    Invite,
    /// New rooms, by user.
    CreateRoom,
    /// Changes of profile, devices, account data and aliases, by user.
    Account,
    /// Searches and walks whose cost grows with what is found, by user or, for strangers, by address.
    Search,
    /// Reports to the administrators, by user.
    Report,
    /// Writes of keys to the key backup, by user: a client that backs up everything makes many in a row.
    KeyBackup,
    /// Uploads and claims of encryption keys and signatures, by user.
    Keys,
    /// Requests with messages to devices, by user.
    ToDevice,
    /// Uploads and new media ids, by user.
    Upload,
    /// Downloads and thumbnails, by user, or by address where nobody needs to sign in. A client that opens a room asks
    /// for hundreds of avatars.
    Download,
    /// Previews of pages, by user.
    Preview,
    /// Requests of other servers, by server; the quota is configured, see [`RateLimits::take_of`].
    Partner,
    /// Requests that have this server fetch keys before it knows who asks, by address.
    UnknownKey,
    /// Requests with a token that no directory has, by address.
    DirectoryToken,
}

/// How often: so many at once, and one more each so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Budget of a key that was quiet.
    pub burst: u32,
    /// Time in which one more is allowed.
    pub one_per_ms: u32,
}

impl Class {
    /// The quota. Generous for people, and for a ward whose devices share one address at the change of shifts; in the
    /// way of scripts.
    pub const fn quota(self) -> Quota {
        match self {
            Self::Login => Quota { burst: 100, one_per_ms: 1_000 },
            Self::LoginFailed => Quota { burst: 10, one_per_ms: 6_000 },
            Self::Registration => Quota { burst: 20, one_per_ms: 6_000 },
            Self::RegistrationQuery => Quota { burst: 30, one_per_ms: 2_000 },
            Self::Message => Quota { burst: 100, one_per_ms: 100 },
            Self::Join => Quota { burst: 50, one_per_ms: 1_000 },
            Self::Invite => Quota { burst: 100, one_per_ms: 1_000 },
            Self::CreateRoom => Quota { burst: 30, one_per_ms: 10_000 },
            Self::Account => Quota { burst: 100, one_per_ms: 200 },
            Self::Search => Quota { burst: 100, one_per_ms: 100 },
            Self::Report => Quota { burst: 20, one_per_ms: 5_000 },
            Self::KeyBackup => Quota { burst: 300, one_per_ms: 100 },
            // A client that sets itself up sends a dozen; one that opens a large room claims keys in many requests.
            Self::Keys => Quota { burst: 200, one_per_ms: 100 },
            // The keys of a large room go out in many requests at once.
            Self::ToDevice => Quota { burst: 500, one_per_ms: 50 },
            Self::Upload => Quota { burst: 100, one_per_ms: 500 },
            Self::Download => Quota { burst: 2_000, one_per_ms: 20 },
            Self::Preview => Quota { burst: 60, one_per_ms: 1_000 },
            Self::Partner => Quota { burst: 1_000, one_per_ms: 10 },
            // A server that comes back after a long time meets hundreds at once; behind a proxy they have one address.
            Self::UnknownKey => Quota { burst: 500, one_per_ms: 200 },
            Self::DirectoryToken => Quota { burst: 20, one_per_ms: 6_000 },
        }
    }
}

/// Whose budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    User(u64),
    V4(u32),
    /// One subscriber has a /64 of IPv6 addresses at least.
    V6Prefix(u64),
    /// Keyed hash of a name that may belong to nobody.
    Name(u64),
}

/// Something that has a budget: a user, an address, or a name (of an account that may not exist).
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A user.
    User(UserNid),
    /// An address; IPv6 counts by /64.
    Ip(IpAddr),
    /// A name as it was given.
    Name(&'a str),
}

impl From<UserNid> for Subject<'_> {
    fn from(user: UserNid) -> Self {
        Self::User(user)
    }
}

impl From<IpAddr> for Subject<'_> {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl<'a> From<&'a str> for Subject<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

type Shard = HashMap<(Class, Owner), u64>;

/// All budgets.
#[derive(Debug)]
pub struct RateLimits {
    clock: SharedClock,
    enabled: bool,
    hasher: RandomState,
    /// Per key the time, in milliseconds since 1970, at which its budget is whole.
    shards: [Mutex<Shard>; SHARDS],
}

impl RateLimits {
    /// Budgets that nobody has drawn on; with `enabled` false, ones that never end.
    pub fn new(clock: SharedClock, enabled: bool) -> Self {
        Self { clock, enabled, hasher: RandomState::new(), shards: Default::default() }
    }

    /// Takes one from the subject's budget.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED` with the time to wait if nothing is left.
    pub fn take<'a>(&self, class: Class, subject: impl Into<Subject<'a>>) -> Result<(), ApiError> {
        self.draw(class, class.quota(), subject.into(), true)
    }

    /// As [`Self::take`], with another quota than the class has. A subject must always come with the same.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_of<'a>(&self, class: Class, quota: Quota, subject: impl Into<Subject<'a>>) -> Result<(), ApiError> {
        self.draw(class, quota, subject.into(), true)
    }

    /// Whether something is left of the budget; takes nothing.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn check<'a>(&self, class: Class, subject: impl Into<Subject<'a>>) -> Result<(), ApiError> {
        self.draw(class, class.quota(), subject.into(), false)
    }

    fn draw(&self, class: Class, quota: Quota, subject: Subject<'_>, take: bool) -> Result<(), ApiError> {
        if !self.enabled {
            return Ok(());
        }
        let key = (class, self.owner(subject));
        let each_ms = u64::from(quota.one_per_ms);
        let budget_ms = each_ms * u64::from(quota.burst);
        let now_ms = self.clock.now_ms();
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[index].lock();
        // A clock that was set back must not lock anybody out: nobody owes more than the whole budget.
        let whole_at = shard.get(&key).map_or(now_ms, |at| (*at).clamp(now_ms, now_ms.saturating_add(budget_ms)));
        let after = whole_at.saturating_add(each_ms);
        let over_ms = after.saturating_sub(now_ms.saturating_add(budget_ms));
        if over_ms > 0 {
            return Err(ApiError::limit_exceeded(Duration::from_millis(over_ms)));
        }
        if take {
            make_room(&mut shard, now_ms);
            shard.insert(key, after);
        }
        Ok(())
    }

    fn owner(&self, subject: Subject<'_>) -> Owner {
        match subject {
            Subject::User(user) => Owner::User(user.get()),
            Subject::Ip(IpAddr::V4(ip)) => Owner::V4(ip.to_bits()),
            Subject::Ip(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
                Some(ip) => Owner::V4(ip.to_bits()),
                None => Owner::V6Prefix(u64::try_from(ip.to_bits() >> 64).unwrap_or(0)),
            },
            Subject::Name(name) => Owner::Name(self.hasher.hash_one(name)),
        }
    }
}

/// Keeps a shard within its bound.
fn make_room(shard: &mut Shard, now_ms: u64) {
    if shard.len() < KEYS_MAX / SHARDS {
        return;
    }
    shard.retain(|_, whole_at| *whole_at > now_ms);
    if shard.len() < KEYS_MAX / SHARDS {
        return;
    }
    // Everybody has drawn lately: forget the half that owes least, so that this does not run for each new key.
    let mut ends: Vec<u64> = shard.values().copied().collect();
    let middle = ends.len() / 2;
    let (_, median, _) = ends.select_nth_unstable(middle);
    let median = *median;
    shard.retain(|_, whole_at| *whole_at > median);
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use wardroom_accounts::UserNid;
    use wardroom_clock::ManualClock;

    use super::{Class, KEYS_MAX, RateLimits, SHARDS, Subject};

    const USER: UserNid = UserNid::new(7);

    fn limits() -> (RateLimits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(1_000_000));
        (RateLimits::new(clock.clone(), true), clock)
    }

    fn exhaust<'a>(limits: &RateLimits, class: Class, subject: impl Into<Subject<'a>>) -> u32 {
        let subject = subject.into();
        (0..10_000).take_while(|_| limits.take(class, subject).is_ok()).map(|_| 1).sum()
    }

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let (limits, clock) = limits();
        let quota = Class::Message.quota();
        assert_eq!(exhaust(&limits, Class::Message, USER), quota.burst);
        clock.advance_ms(u64::from(quota.one_per_ms));
        assert_eq!(exhaust(&limits, Class::Message, USER), 1);
        clock.advance_ms(u64::from(quota.one_per_ms) * 5);
        assert_eq!(exhaust(&limits, Class::Message, USER), 5);
        clock.advance_ms(1_000_000);
        assert_eq!(exhaust(&limits, Class::Message, USER), quota.burst);
    }

    #[test]
    fn classes_and_subjects_have_budgets_of_their_own() {
        let (limits, _clock) = limits();
        exhaust(&limits, Class::Message, USER);
        assert!(limits.take(Class::Join, USER).is_ok());
        assert!(limits.take(Class::Message, UserNid::new(8)).is_ok());
        assert!(limits.take(Class::Message, "7").is_ok());
    }

    #[test]
    fn ipv6_addresses_count_by_prefix() {
        let (limits, _clock) = limits();
        exhaust(&limits, Class::Login, "2001:db8:0:1::1".parse::<IpAddr>().unwrap());
        assert!(limits.take(Class::Login, "2001:db8:0:1::2".parse::<IpAddr>().unwrap()).is_err());
        assert!(limits.take(Class::Login, "2001:db8:0:2::1".parse::<IpAddr>().unwrap()).is_ok());
    }

    #[test]
    fn checking_takes_nothing() {
        let (limits, _clock) = limits();
        for _ in 0..1_000 {
            assert!(limits.check(Class::LoginFailed, "x").is_ok());
        }
        exhaust(&limits, Class::LoginFailed, "x");
        assert!(limits.check(Class::LoginFailed, "x").is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_most_indebted_are_remembered() {
        let (limits, _clock) = limits();
        exhaust(&limits, Class::Message, USER);
        for nid in 0..3 * KEYS_MAX as u64 {
            // Not that one: it would be refused.
            if nid != USER.get() {
                limits.take(Class::Message, UserNid::new(nid)).unwrap();
            }
        }
        let kept: usize = limits.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= KEYS_MAX + SHARDS, "{kept}");
        assert!(limits.take(Class::Message, USER).is_err());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_long() {
        let clock = Arc::new(ManualClock::new(1_000_000_000));
        let later = RateLimits::new(clock, true);
        exhaust(&later, Class::Message, USER);
        let back = RateLimits { clock: Arc::new(ManualClock::new(0)), ..later };
        assert!(back.take(Class::Message, USER).is_err());
        let budget_ms = u64::from(Class::Message.quota().one_per_ms) * u64::from(Class::Message.quota().burst);
        let back = RateLimits { clock: Arc::new(ManualClock::new(budget_ms)), ..back };
        assert!(back.take(Class::Message, USER).is_err(), "the debt starts at the new time");
    }

    #[test]
    fn disabled_limits_never_end() {
        let limits = RateLimits::new(Arc::new(ManualClock::new(0)), false);
        assert_eq!(exhaust(&limits, Class::CreateRoom, USER), 10_000);
    }
}
