//! Finding users by name: section "User Directory". Whom a user may find is for the rooms to decide.
//!
//! Names and words of names lie in memory, filled from the store once and kept by every commit that changes a user or a
//! profile; at rest there is nothing but the profiles themselves, sealed. At 50,000 users it is some 20 MB. Users of other
//! servers are listed by whoever hears of them in rooms, [`Accounts::list_others`], up to a limit.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use ruma::{OwnedUserId, UserId};
use tokio::sync::OnceCell;
use wardroom_store::{Batch, Packed, Scan};

use crate::{
    AccountError, Accounts, Profile, UserNid,
    tables::{PROFILES, USERS},
};

/// Users whom one search finds, before it is asked who of them may be seen.
const FOUND_MAX: usize = 5_000;
/// Words of a search term, and of a display name, that count.
const WORDS_MAX: usize = 10;
/// Characters of a word that count.
const WORD_CHARS_MAX: usize = 64;
/// Users of other servers that are listed.
pub const OTHERS_MAX: usize = 100_000;
/// Characters of their display names that count.
const OTHERS_NAME_CHARS_MAX: usize = 256;
/// Changes that wait for a search at most; then whoever brings one more works them off.
const WAITING_MAX: usize = 1_000;
/// Users read at a time when the index is filled.
const USERS_PAGE: usize = 1_000;

/// Users whose names fit, the best first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundUsers {
    /// The users.
    pub users: Vec<UserNid>,
    /// There were more than one search finds.
    pub cut: bool,
}

/// A user in the index, in lower case.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    localpart: Box<str>,
    displayname: Option<Box<str>>,
    /// None for users of this server.
    server: Option<Box<str>>,
}

impl Entry {
    fn new(localpart: &str, displayname: Option<&str>) -> Self {
        let displayname = displayname.map(|name| name.to_lowercase().into());
        Self { localpart: localpart.to_lowercase().into(), displayname, server: None }
    }

    /// A user of another server.
    fn other(user: &UserId, displayname: Option<&str>) -> Self {
        // Names from elsewhere have no limit of their own.
        let displayname = displayname.map(|name| clipped_to(name, OTHERS_NAME_CHARS_MAX));
        Self { server: Some(user.server_name().as_str().into()), ..Self::new(user.localpart(), displayname) }
    }

    fn words(&self) -> BTreeSet<&str> {
        // The localpart as it is, too: `a.b` finds `a.bond`, as does `bond`.
        let whole = clipped(&self.localpart);
        let names = words(&self.localpart).chain(self.displayname.iter().flat_map(|name| words(name)));
        names.chain([whole]).collect()
    }

    /// The smaller, the better: the whole name first, then how it begins, then words in it.
    fn rank(&self, term: &str) -> (u8, Reverse<bool>, &str) {
        let named = self.displayname.as_deref();
        let rank = if named == Some(term) || *self.localpart == *term {
            0
        } else if named.is_some_and(|name| name.starts_with(term)) || self.localpart.starts_with(term) {
            1
        } else {
            2
        };
        (rank, Reverse(named.is_some()), &self.localpart)
    }
}

/// Runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .map(clipped)
}

fn clipped(word: &str) -> &str {
    clipped_to(word, WORD_CHARS_MAX)
}

fn clipped_to(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

#[derive(Debug, Default)]
struct Index {
    /// `None` for users who were closed while the index was filled.
    users: HashMap<UserNid, Option<Entry>>,
    words: BTreeSet<(Box<str>, UserNid)>,
    /// Users of other servers among them.
    others: usize,
}

impl Index {
    fn put(&mut self, user: UserNid, entry: Option<Entry>) {
        let is_other = |entry: &Entry| entry.server.is_some();
        if self.others >= OTHERS_MAX && entry.as_ref().is_some_and(is_other) && !self.users.contains_key(&user) {
            return;
        }
        if let Some(Some(old)) = self.users.remove(&user) {
            for word in old.words() {
                self.words.remove(&(word.into(), user));
            }
            self.others -= usize::from(is_other(&old));
        }
        self.others += usize::from(entry.as_ref().is_some_and(is_other));
        for word in entry.iter().flat_map(Entry::words) {
            self.words.insert((word.into(), user));
        }
        self.users.insert(user, entry);
    }

    /// Users with a word that begins like this.
    fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = UserNid> + 'a {
        let from = (Box::from(prefix), UserNid::new(0));
        let range = self.words.range((Bound::Included(from), Bound::Unbounded));
        range.take_while(move |(word, _)| word.starts_with(prefix)).map(|(_, user)| *user)
    }

    fn find(&self, term: &str, found_max: usize) -> FoundUsers {
        let mut sought: Vec<&str> = words(term).collect();
        if term.chars().any(|character| !character.is_alphanumeric() && !character.is_whitespace()) {
            // A localpart with signs in it is a word, too.
            let whole = self.find_words(term, &[clipped(term)], found_max);
            if !whole.users.is_empty() {
                return whole;
            }
        }
        sought.sort_unstable_by_key(|word| Reverse(word.len()));
        self.find_words(term, &sought, found_max)
    }

    /// Users of whose words some begin like each of those sought; the longest of these comes first.
    fn find_words(&self, term: &str, sought: &[&str], found_max: usize) -> FoundUsers {
        let Some((first, others)) = sought.split_first() else { return FoundUsers::default() };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for user in self.beginning(first).filter(|user| seen.insert(*user)) {
            let Some(Some(entry)) = self.users.get(&user) else { continue };
            let has = |sought: &&str| entry.words().iter().any(|word| word.starts_with(sought));
            if others.iter().all(has) {
                found.push((entry.rank(term), user));
            }
        }
        found.sort_unstable();
        let cut = found.len() > found_max;
        FoundUsers { users: found.into_iter().take(found_max).map(|(_, user)| user).collect(), cut }
    }
}

/// A change of a user's names; none for a user who is gone.
type Change = (UserNid, Option<Entry>);

/// The index, and the changes that came while somebody read it: a commit never waits for a search.
#[derive(Debug, Default)]
struct Shared {
    index: RwLock<Index>,
    waiting: Mutex<Vec<Change>>,
}

impl Shared {
    /// Called for each commit, in their order.
    fn change(&self, change: Change) {
        let mut waiting = self.waiting.lock();
        waiting.push(change);
        if let Some(mut index) = self.index.try_write() {
            waiting.drain(..).for_each(|(user, entry)| index.put(user, entry));
        }
    }

    /// Changes that nobody waits for.
    fn change_later(&self, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = self.waiting.lock();
        waiting.extend(changes);
        if waiting.len() > WAITING_MAX
            && let Some(mut index) = self.index.try_write()
        {
            waiting.drain(..).for_each(|(user, entry)| index.put(user, entry));
        }
    }

    fn find(&self, term: &str) -> FoundUsers {
        if !self.waiting.lock().is_empty() {
            // First the index, then the changes: who changes something never waits for the index.
            let mut index = self.index.write();
            self.waiting.lock().drain(..).for_each(|(user, entry)| index.put(user, entry));
        }
        self.index.read().find(term, FOUND_MAX)
    }
}

/// The names of all active users.
#[derive(Debug, Default)]
pub(crate) struct UserDirectory {
    shared: Arc<Shared>,
    filled: OnceCell<()>,
}

impl UserDirectory {
    /// Lists a user under these names once the batch is committed.
    pub(crate) fn put_on_commit(&self, batch: &mut Batch, nid: UserNid, user: &UserId, displayname: Option<&str>) {
        let entry = Entry::new(user.localpart(), displayname);
        let shared = Arc::clone(&self.shared);
        batch.on_commit(move |_| shared.change((nid, Some(entry))));
    }

    /// Takes a user off the list once the batch is committed.
    pub(crate) fn remove_on_commit(&self, batch: &mut Batch, nid: UserNid) {
        let shared = Arc::clone(&self.shared);
        batch.on_commit(move |_| shared.change((nid, None)));
    }
}

impl Accounts {
    /// Reads the names of all users, if that was not done before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn fill_directory(&self) -> Result<(), AccountError> {
        self.0.directory.filled.get_or_try_init(|| self.read_directory()).await.map(drop)
    }

    async fn read_directory(&self) -> Result<(), AccountError> {
        let mut scan = Scan::all().limit(USERS_PAGE);
        loop {
            let view = self.0.store.latest();
            let page = view.scan(&USERS, scan).await?;
            let Some(last) = page.last().map(|(nid, _)| *nid) else { return Ok(()) };
            let active: Vec<u64> =
                page.iter().filter(|(_, Packed(row))| !row.deactivated).map(|(nid, _)| *nid).collect();
            let profiles = view.multi_get(&PROFILES, &active).await?;
            let mut entries = Vec::with_capacity(active.len());
            for (nid, profile) in active.into_iter().zip(profiles) {
                let nid = UserNid::new(nid);
                let displayname = profile.and_then(|Packed(profile)| profile.displayname);
                entries.push((nid, Entry::new(self.user_id(nid).await?.localpart(), displayname.as_deref())));
            }
            let mut index = self.0.directory.shared.index.write();
            for (nid, entry) in entries {
                // Whoever is there already was put there by a commit, which knows better.
                if !index.users.contains_key(&nid) {
                    index.put(nid, Some(entry));
                }
            }
            scan = Scan::all().after(&last).limit(USERS_PAGE);
        }
    }

    /// Lists users of other servers, each with the display name under which a room knows them.
    pub fn list_others(&self, others: impl IntoIterator<Item = (UserNid, OwnedUserId, Option<String>)>) {
        let listed = others.into_iter().map(|(nid, user, name)| (nid, Some(Entry::other(&user, name.as_deref()))));
        self.0.directory.shared.change_later(listed);
    }

    /// As [`Accounts::list_others`], for names that may be older than what is listed already.
    pub fn list_missing_others(&self, others: impl IntoIterator<Item = (UserNid, OwnedUserId, Option<String>)>) {
        let shared = &self.0.directory.shared;
        let mut index = shared.index.write();
        shared.waiting.lock().drain(..).for_each(|(user, entry)| index.put(user, entry));
        for (nid, user, name) in others {
            if !index.users.contains_key(&nid) {
                index.put(nid, Some(Entry::other(&user, name.as_deref())));
            }
        }
    }

    /// Users of whose display name or user id some words begin like those of the term, whatever the
    /// case; the best first. Says nothing about who may see them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_users(&self, term: &str) -> Result<FoundUsers, AccountError> {
        self.fill_directory().await?;
        let term = term.trim().to_lowercase();
        // A user id, or the beginning of one, finds its user.
        let Some((localpart, server)) = term.strip_prefix('@').and_then(|id| id.split_once(':')) else {
            return Ok(self.0.directory.shared.find(term.strip_prefix('@').unwrap_or(&term)));
        };
        let mut found = self.0.directory.shared.find(localpart);
        let own = self.0.settings.server_name.as_str().starts_with(server);
        let index = self.0.directory.shared.index.read();
        found.users.retain(|user| match index.users.get(user) {
            Some(Some(Entry { server: Some(other), .. })) => other.starts_with(server),
            Some(Some(_)) => own,
            _ => false,
        });
        drop(index);
        Ok(found)
    }

    /// Id and profile of an active user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile_by_nid(&self, nid: UserNid) -> Result<Option<(OwnedUserId, Profile)>, AccountError> {
        let Some(user) = self.user_by_nid(nid).await? else { return Ok(None) };
        Ok(self.profile(&user.id).await?.map(|profile| (user.id, profile)))
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{Entry, Index, UserNid};

    fn index(users: &[(&str, Option<&str>)]) -> Index {
        let mut index = Index::default();
        for (number, (localpart, name)) in (1..).zip(users) {
            index.put(UserNid::new(number), Some(Entry::new(localpart, *name)));
        }
        index
    }

    fn find(index: &Index, term: &str) -> Vec<u64> {
        index.find(&term.to_lowercase(), 10).users.into_iter().map(UserNid::get).collect()
    }

    #[test]
    fn words_are_found_by_how_they_begin_whatever_the_case() {
        let index = index(&[
            ("mmeier", Some("Dr. Maria MEIER-Özil")),
            ("otto.maier", None),
            ("anna", Some("Anna Sommer")),
            ("ward7", Some("Maria Ward")),
        ]);
        assert_eq!(find(&index, "meier"), [1]);
        assert_eq!(find(&index, "özil"), [1]);
        assert_eq!(find(&index, "mar"), [4, 1], "a name that begins like this comes first");
        assert_eq!(find(&index, "maria me"), [1]);
        assert_eq!(find(&index, "me maria"), [1]);
        assert_eq!(find(&index, "mai"), [2]);
        assert_eq!(find(&index, "otto.ma"), [2]);
        assert_eq!(find(&index, "maria meier-ö"), [1]);
        assert_eq!(find(&index, "aria"), [0; 0], "not in the middle of a word");
        assert_eq!(find(&index, "maria schmidt"), [0; 0]);
        for nothing in ["", "   ", "-", "@", "\0"] {
            assert_eq!(find(&index, nothing), [0; 0], "{nothing:?}");
        }
    }

    #[test]
    fn who_is_named_exactly_comes_first_and_who_has_a_name_before_who_has_none() {
        let index = index(&[("x1", Some("Zoe Ann")), ("annabel", None), ("annb", Some("B")), ("ann", None)]);
        assert_eq!(find(&index, "ann"), [4, 3, 2, 1]);
        assert!(index.find("ann", 3).cut);
        assert!(!index.find("ann", 4).cut);
    }

    #[test]
    fn a_changed_name_is_found_and_the_old_one_is_not() {
        let mut index = index(&[("a", Some("Old Name")), ("b", Some("Old Hand"))]);
        index.put(UserNid::new(1), Some(Entry::new("a", Some("New Name"))));
        assert_eq!(find(&index, "old"), [2]);
        assert_eq!(find(&index, "new"), [1]);
        index.put(UserNid::new(2), None);
        assert_eq!(find(&index, "old"), [0; 0]);
        index.put(UserNid::new(1), None);
        assert!(index.words.is_empty());
    }

    #[test]
    fn users_of_other_servers_are_listed_up_to_a_limit() {
        let mut index = index(&[("anna", None)]);
        index.put(UserNid::new(7), Some(Entry::other(user_id!("@anna:b.example"), Some("Anna B"))));
        assert_eq!(find(&index, "anna"), [7, 1]);
        index.others = super::OTHERS_MAX;
        index.put(UserNid::new(8), Some(Entry::other(user_id!("@annabel:b.example"), None)));
        assert_eq!(find(&index, "annabel"), [0; 0], "no more");
        index.put(UserNid::new(7), Some(Entry::other(user_id!("@anna:b.example"), Some("Berta"))));
        assert_eq!(find(&index, "berta"), [7], "but what is listed stays true");
        index.put(UserNid::new(9), Some(Entry::new("annika", None)));
        assert_eq!(find(&index, "annika"), [9], "and own users are always listed");
    }

    #[test]
    fn hostile_names_stay_within_bounds() {
        let long = "x".repeat(100_000);
        let many = "w ".repeat(100_000);
        let mut index = index(&[("a", Some(&long)), ("b", Some(&many))]);
        assert!(index.words.iter().all(|(word, _)| word.len() <= 64));
        assert!(index.words.len() < 10);
        assert_eq!(find(&index, &long), [1]);
        index.put(UserNid::new(1), None);
        assert_eq!(find(&index, "x"), [0; 0]);
    }
}
