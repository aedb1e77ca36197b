//! All users of the server, for administrators: found by parts of names, in many orders, a page at a time.
//!
//! What orders and finds users lies in memory, about 200 bytes for each, in the order of their names; at 100,000 users a
//! page costs a walk over them. It is read from the store once, and users who are changed are read again when somebody
//! asks. At rest names stand only where they are sealed.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use wardroom_store::{Batch, Packed, Scan};

use crate::{
    AccountError, Accounts, Moderation, User, UserNid,
    tables::{DEVICES_SEEN, MODERATION, PROFILES, USERS},
};

/// Users read at a time.
const USERS_PAGE: usize = 1_000;
/// Users who wait to be read again; beyond it, all of them are.
const CHANGED_MAX: usize = 20_000;

/// What users are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserOrder {
    /// User id.
    #[default]
    Name,
    /// Guests last.
    IsGuest,
    /// Administrators last.
    Admin,
    /// Deactivated users last.
    Deactivated,
    /// Locked users last.
    Locked,
    /// Display name; users without one first.
    DisplayName,
    /// Address of the picture; users without one first.
    AvatarUrl,
    /// When the account was made.
    Created,
    /// When one of the user's devices was last seen. Reads that of every device, which takes long where there are many.
    LastSeen,
    /// What all users have in common.
    Nothing,
}

/// Which users, and in which order.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Part of the user id, in any case.
    pub user_id: Option<String>,
    /// Part of the user name or display name, in any case.
    pub name: Option<String>,
    /// Only guests, or only others.
    pub guests: Option<bool>,
    /// Only deactivated users, or only others.
    pub deactivated: Option<bool>,
    /// Only administrators, or only others.
    pub admins: Option<bool>,
    /// Only locked users, or only others.
    pub locked: Option<bool>,
    /// The order.
    pub order: UserOrder,
    /// The other way round.
    pub backwards: bool,
    /// Users to leave out.
    pub from: usize,
    /// Users at most.
    pub limit: usize,
}

/// A page of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users.
    pub users: Vec<ListedUser>,
    /// How many there are in all.
    pub total: usize,
}

/// A user in a list.
#[derive(Clone, Debug)]
pub struct ListedUser {
    /// The user.
    pub user: User,
    /// Display name.
    pub displayname: Option<String>,
    /// `mxc://` URI of the picture.
    pub avatar_url: Option<String>,
    /// What was taken from the user.
    pub moderation: Moderation,
    /// When one of the user's devices was last seen, in milliseconds since 1970.
    pub last_seen_ms: Option<u64>,
}

/// What orders and finds a user.
#[derive(Debug)]
struct Entry {
    localpart: Box<str>,
    /// In lower case.
    displayname: Option<Box<str>>,
    avatar_url: Option<Box<str>>,
    created_ms: u64,
    admin: bool,
    guest: bool,
    deactivated: bool,
    locked: bool,
}

/// The users in memory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    users: tokio::sync::Mutex<Known>,
    changed: Arc<Mutex<Changed>>,
}

#[derive(Debug, Default)]
struct Known {
    by_nid: BTreeMap<UserNid, Entry>,
    by_name: BTreeMap<Box<str>, UserNid>,
}

#[derive(Debug, Default)]
struct Changed {
    /// Everybody was read, or is being read: who changes from here on is noted.
    noted: bool,
    users: Vec<UserNid>,
}

impl Listing {
    /// A user is another than before once the batch is committed.
    pub(crate) fn changed_on_commit(&self, batch: &mut Batch, user: UserNid) {
        let changed = Arc::clone(&self.changed);
        batch.on_commit(move |_| {
            let mut changed = changed.lock();
            if !changed.noted {
                return;
            }
            if changed.users.len() >= CHANGED_MAX {
                *changed = Changed::default();
                return;
            }
            changed.users.push(user);
        });
    }
}

impl Known {
    fn put(&mut self, nid: UserNid, entry: Entry) {
        self.by_name.insert(entry.localpart.clone(), nid);
        self.by_nid.insert(nid, entry);
    }

    /// Users in the order asked for, as far as that can be said without looking at anything else.
    fn in_order(&self, query: &UserQuery) -> Vec<(UserNid, &Entry)> {
        let term = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        let name = term(&query.name);
        let fits = |entry: &Entry| {
            let is = |wanted: Option<bool>, has: bool| wanted.is_none_or(|wanted| wanted == has);
            is(query.guests, entry.guest)
                && is(query.deactivated, entry.deactivated)
                && is(query.admins, entry.admin)
                && is(query.locked, entry.locked)
                && name.as_deref().is_none_or(|name| {
                    entry.localpart.to_lowercase().contains(name)
                        || entry.displayname.as_deref().is_some_and(|shown| shown.contains(name))
                })
        };
        let named = self.by_name.values().filter_map(|nid| Some((*nid, self.by_nid.get(nid)?)));
        let mut found: Vec<(UserNid, &Entry)> = named.filter(|(_, entry)| fits(entry)).collect();
        // The sort keeps equal ones in the order of their names.
        match query.order {
            UserOrder::Name | UserOrder::LastSeen | UserOrder::Nothing => {}
            order => found.sort_by(|(_, a), (_, b)| directed(query.backwards, compare(order, a, b))),
        }
        if query.order == UserOrder::Name && query.backwards {
            found.reverse();
        }
        found
    }
}

fn directed(backwards: bool, order: Ordering) -> Ordering {
    if backwards { order.reverse() } else { order }
}

fn compare(order: UserOrder, a: &Entry, b: &Entry) -> Ordering {
    match order {
        UserOrder::IsGuest => a.guest.cmp(&b.guest),
        UserOrder::Admin => a.admin.cmp(&b.admin),
        UserOrder::Deactivated => a.deactivated.cmp(&b.deactivated),
        UserOrder::Locked => a.locked.cmp(&b.locked),
        UserOrder::DisplayName => a.displayname.cmp(&b.displayname),
        UserOrder::AvatarUrl => a.avatar_url.cmp(&b.avatar_url),
        UserOrder::Created => a.created_ms.cmp(&b.created_ms),
        UserOrder::Name | UserOrder::LastSeen | UserOrder::Nothing => Ordering::Equal,
    }
}

impl Accounts {
    /// A page of the server's users.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_users(&self, query: &UserQuery) -> Result<UserPage, AccountError> {
        let (nids, total) = {
            let mut known = self.0.listing.users.lock().await;
            self.bring_up_to_date(&mut known).await?;
            let mut found = known.in_order(query);
            if let Some(part) = &query.user_id {
                let (part, server) = (part.to_lowercase(), &self.0.settings.server_name);
                found.retain(|(_, entry)| format!("@{}:{server}", entry.localpart).to_lowercase().contains(&part));
            }
            let total = found.len();
            let mut nids: Vec<UserNid> = found.into_iter().map(|(nid, _)| nid).collect();
            if query.order == UserOrder::LastSeen {
                let seen = self.last_seen_of_all().await?;
                nids.sort_by(|a, b| directed(query.backwards, seen.get(a).cmp(&seen.get(b))));
            }
            (nids.into_iter().skip(query.from).take(query.limit).collect::<Vec<_>>(), total)
        };
        let mut users = Vec::with_capacity(nids.len());
        for nid in nids {
            users.extend(self.listed_user(nid).await?);
        }
        Ok(UserPage { users, total })
    }

    /// Reads all users, if that was not done before: the first page takes no longer than the others then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn fill_listing(&self) -> Result<(), AccountError> {
        let mut known = self.0.listing.users.lock().await;
        self.bring_up_to_date(&mut known).await
    }

    /// The `mxc://` URIs of all users' pictures.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn avatar_urls(&self) -> Result<HashSet<String>, AccountError> {
        let mut known = self.0.listing.users.lock().await;
        self.bring_up_to_date(&mut known).await?;
        Ok(known.by_nid.values().filter_map(|entry| entry.avatar_url.as_deref().map(str::to_owned)).collect())
    }

    /// A user as lists show them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn listed_user(&self, nid: UserNid) -> Result<Option<ListedUser>, AccountError> {
        let Some(user) = self.user_by_nid(nid).await? else { return Ok(None) };
        let profile = self.0.store.latest().get(&PROFILES, &nid.get()).await?;
        let profile = profile.map(|Packed(profile)| profile).unwrap_or_default();
        let devices = self.devices(nid).await?;
        Ok(Some(ListedUser {
            user,
            displayname: profile.displayname,
            avatar_url: profile.avatar_url,
            moderation: self.moderation_of(nid).await?.0,
            last_seen_ms: devices.into_iter().filter_map(|device| device.last_seen_ms).max(),
        }))
    }

    /// Reads who is not known yet, and who changed.
    async fn bring_up_to_date(&self, known: &mut Known) -> Result<(), AccountError> {
        let first = {
            let mut changed = self.0.listing.changed.lock();
            !std::mem::replace(&mut changed.noted, true)
        };
        if first {
            *known = Known::default();
            if let Err(error) = self.read_all_users(known).await {
                *self.0.listing.changed.lock() = Changed::default();
                return Err(error);
            }
        }
        let changed = std::mem::take(&mut self.0.listing.changed.lock().users);
        for (index, nid) in changed.iter().enumerate() {
            if let Err(error) = self.read_users(known, &[nid.get()]).await {
                self.0.listing.changed.lock().users.extend(&changed[index..]);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn read_all_users(&self, known: &mut Known) -> Result<(), AccountError> {
        let mut scan = Scan::all().limit(USERS_PAGE);
        loop {
            let page = self.0.store.latest().scan_keys(&USERS, scan).await?;
            let Some(last) = page.last().copied() else { return Ok(()) };
            self.read_users(known, &page).await?;
            scan = Scan::all().after(&last).limit(USERS_PAGE);
            tokio::task::consume_budget().await;
        }
    }

    async fn read_users(&self, known: &mut Known, nids: &[u64]) -> Result<(), AccountError> {
        let view = self.0.store.latest();
        let rows = view.multi_get(&USERS, nids).await?;
        let profiles = view.multi_get(&PROFILES, nids).await?;
        let moderation = view.multi_get(&MODERATION, nids).await?;
        for (((nid, row), profile), moderation) in nids.iter().zip(rows).zip(profiles).zip(moderation) {
            let Some(Packed(row)) = row else { continue };
            let nid = UserNid::new(*nid);
            let profile = profile.map(|Packed(profile)| profile).unwrap_or_default();
            let entry = Entry {
                localpart: self.user_id(nid).await?.localpart().into(),
                displayname: profile.displayname.map(|name| name.to_lowercase().into()),
                avatar_url: profile.avatar_url.map(Into::into),
                created_ms: row.created_ms,
                admin: row.admin,
                guest: row.guest,
                deactivated: row.deactivated,
                locked: moderation.is_some_and(|Packed(moderation)| moderation.locked),
            };
            known.put(nid, entry);
        }
        Ok(())
    }

    async fn last_seen_of_all(&self) -> Result<BTreeMap<UserNid, u64>, AccountError> {
        let (mut seen, mut scan) = (BTreeMap::new(), Scan::all().limit(USERS_PAGE));
        loop {
            let page = self.0.store.latest().scan(&DEVICES_SEEN, scan).await?;
            let Some((last, _)) = page.last() else { return Ok(seen) };
            scan = Scan::all().after(last).limit(USERS_PAGE);
            for ((user, _), Packed(row)) in page {
                let latest: &mut u64 = seen.entry(UserNid::new(user)).or_default();
                *latest = row.at_ms.max(*latest);
            }
            tokio::task::consume_budget().await;
        }
    }
}
