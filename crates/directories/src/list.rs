//! The list of one source, and what several of them say together.

use std::collections::{HashMap, HashSet, hash_map};

use ruma::{OwnedServerName, OwnedUserId, UserId};
use wardroom_accounts::localpart_of;
use wardroom_care::{Binding, REASON_BYTES_MAX, ROLES_PER_SOURCE_MAX, Role, Said};

/// A role that a source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) role: Role,
    pub(crate) from_ms: Option<u64>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) reason: String,
}

/// What a source says of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Whether they are there at all; none where the source does not say.
    pub(crate) active: Option<bool>,
    pub(crate) roles: Vec<Given>,
}

/// Everybody whom a source lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) people: HashMap<OwnedUserId, Listed>,
    /// Entries of people who have no name here, or one that others have too.
    pub(crate) skipped: usize,
}

/// Makes a list.
#[derive(Debug)]
pub(crate) struct ListMaker {
    server_name: OwnedServerName,
    before_at: bool,
    list: List,
    ambiguous: HashSet<OwnedUserId>,
}

impl ListMaker {
    /// Of users of this server. With `before_at`, names end before their `@`.
    pub(crate) fn new(server_name: OwnedServerName, before_at: bool) -> Self {
        Self { server_name, before_at, list: List::default(), ambiguous: HashSet::new() }
    }

    /// Adds somebody by the one name that the source has of them.
    pub(crate) fn add(&mut self, name: Option<&str>, listed: Listed) {
        let user = name.and_then(|name| self.user(name));
        match user.map(|user| self.list.people.entry(user)) {
            None => self.list.skipped += 1,
            Some(hash_map::Entry::Vacant(place)) => drop(place.insert(listed)),
            // Nobody gets what is another's: neither does.
            Some(hash_map::Entry::Occupied(place)) => {
                self.list.skipped += 1;
                self.ambiguous.insert(place.key().clone());
            }
        }
    }

    fn user(&self, name: &str) -> Option<OwnedUserId> {
        let name = if self.before_at { name.split('@').next().unwrap_or_default() } else { name };
        if name.is_empty() {
            return None;
        }
        UserId::parse_with_server_name(localpart_of(name), &self.server_name).ok()
    }

    pub(crate) fn finish(mut self) -> List {
        for user in self.ambiguous {
            self.list.people.remove(&user);
            self.list.skipped += 1;
        }
        self.list
    }
}

/// What sources of one kind say together. Those without a list have not answered since the server started: what they said
/// before is what of `before` bears their name.
pub(crate) fn together(
    sources: &[(&str, Option<&List>)],
    before: &HashMap<OwnedUserId, Said>,
    now_ms: u64,
) -> HashMap<OwnedUserId, Said> {
    let silent = |name: &str| sources.iter().any(|(source, list)| list.is_none() && *source == name);
    let anybody_is_silent = sources.iter().any(|(_, list)| list.is_none());
    let mut all: HashMap<OwnedUserId, Said> = HashMap::new();
    for (name, list) in sources.iter().filter_map(|(name, list)| Some((*name, (*list)?))) {
        for (user, listed) in &list.people {
            let known = before.get(user).map_or(&[][..], |said| &said.bindings);
            let said = all.entry(user.clone()).or_default();
            said.active = either(said.active, listed.active);
            said.bindings.extend(listed.roles.iter().map(|given| binding(name, given, known, now_ms)));
        }
    }
    if anybody_is_silent {
        for (user, said) in before {
            let kept: Vec<Binding> = said.bindings.iter().filter(|binding| silent(&binding.set_by)).cloned().collect();
            match all.get_mut(user) {
                Some(new) if !kept.is_empty() => {
                    new.active = either(new.active, said.active);
                    new.bindings.extend(kept);
                }
                Some(_) => {}
                None if !kept.is_empty() || said.active == Some(false) => {
                    all.insert(user.clone(), Said { active: said.active, bindings: kept });
                }
                None => {}
            }
        }
    }
    for said in all.values_mut() {
        said.bindings.sort_by(|a, b| (&a.role, &a.set_by, a.from_ms).cmp(&(&b.role, &b.set_by, b.from_ms)));
        said.bindings.truncate(ROLES_PER_SOURCE_MAX);
    }
    all
}

/// Somebody is there who is there for one of those who say anything about it.
fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    }
}

fn binding(source: &str, given: &Given, known: &[Binding], now_ms: u64) -> Binding {
    let mut reason = given.reason.clone();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    let new = Binding {
        role: given.role.clone(),
        from_ms: given.from_ms,
        until_ms: given.until_ms,
        reason,
        set_by: source.to_owned(),
        set_ms: now_ms,
    };
    // A role that stays is the same as before.
    let same = known.iter().find(|known| Binding { set_ms: now_ms, ..(*known).clone() } == new);
    same.cloned().unwrap_or(new)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ruma::{OwnedUserId, owned_server_name, owned_user_id};
    use wardroom_care::{Role, Said};

    use super::{Given, List, ListMaker, Listed, together};

    fn given(role: &str) -> Given {
        Given { role: Role::parse(role).unwrap(), from_ms: None, until_ms: None, reason: String::new() }
    }

    fn list(people: &[(&str, Option<bool>, &[&str])]) -> List {
        let mut maker = ListMaker::new(owned_server_name!("h1.example"), true);
        for (name, active, roles) in people {
            maker.add(Some(name), Listed { active: *active, roles: roles.iter().map(|role| given(role)).collect() });
        }
        maker.finish()
    }

    fn shown(all: &HashMap<OwnedUserId, Said>) -> Vec<String> {
        let mut lines: Vec<String> = all
            .iter()
            .map(|(user, said)| {
                let roles: Vec<String> =
                    said.bindings.iter().map(|binding| format!("{}:{}", binding.set_by, binding.role)).collect();
                format!("{} {:?} {}", user.localpart(), said.active, roles.join(" "))
            })
            .collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn names_become_ids_and_nobody_gets_what_is_anothers() {
        let list = list(&[
            ("Alice@h1", None, &["a@h1"]),
            ("bob", None, &[]),
            ("BOB", None, &["chief@h1"]),
            ("@h1", None, &[]),
            ("_access", None, &["a@h1"]),
        ]);
        let mut users: Vec<_> = list.people.into_keys().collect();
        users.sort_unstable();
        assert_eq!(users, [owned_user_id!("@=5faccess:h1.example"), owned_user_id!("@alice:h1.example")]);
        assert_eq!(list.skipped, 3);
    }

    #[test]
    fn sources_add_up() {
        let one = list(&[("alice", Some(true), &["a@h1"]), ("bob", Some(false), &[]), ("eve", Some(false), &[])]);
        let two = list(&[("alice", Some(false), &[]), ("bob", None, &["b@h1"])]);
        let all = together(&[("one", Some(&one)), ("two", Some(&two))], &HashMap::new(), 7);
        assert_eq!(shown(&all), ["alice Some(true) one:a@h1", "bob Some(false) two:b@h1", "eve Some(false) "]);
    }

    #[test]
    fn who_does_not_answer_takes_nothing_away() {
        let one = list(&[("alice", Some(true), &["a@h1"]), ("carol", Some(true), &["c@h1"])]);
        let two = list(&[("alice", Some(true), &["b@h1"]), ("bob", Some(true), &["b@h1"]), ("eve", Some(false), &[])]);
        let before = together(&[("one", Some(&one)), ("two", Some(&two))], &HashMap::new(), 7);
        // After a start, with "one" answering and "two" away.
        let now = list(&[("alice", Some(false), &[]), ("dan", None, &["d@h1"])]);
        let all = together(&[("one", Some(&now)), ("two", None)], &before, 9);
        let expected =
            ["alice Some(true) two:b@h1", "bob Some(true) two:b@h1", "dan None one:d@h1", "eve Some(false) "];
        assert_eq!(shown(&all), expected);
        // With both, those who are in neither list are gone, and what stays is as old as it is.
        let all = together(&[("one", Some(&now)), ("two", Some(&two))], &before, 9);
        assert!(!all.contains_key(&owned_user_id!("@carol:h1.example")));
        assert_eq!(all[&owned_user_id!("@bob:h1.example")].bindings[0].set_ms, 7);
        assert_eq!(all[&owned_user_id!("@dan:h1.example")].bindings[0].set_ms, 9);
    }
}
