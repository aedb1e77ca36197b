//! Which state of a room a client wants.

use std::collections::BTreeSet;

use ruma::UserId;

use super::request::StatePattern;

const MEMBER: &str = "m.room.member";
const ANY: &str = "*";

/// `required_state`, of one rule or of several put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequiredState {
    /// All state but the memberships.
    everything: bool,
    all_members: bool,
    /// Memberships of those who appear in the timeline.
    pub(crate) lazy_members: bool,
    /// Types of which all state is wanted; never memberships.
    types: BTreeSet<String>,
    /// State keys of which the state of all types is wanted.
    keys: BTreeSet<String>,
    /// Types and state keys.
    exact: BTreeSet<(String, String)>,
}

/// How wanted state is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Some of the state besides memberships can only be found by looking at all of it.
    pub(crate) others: bool,
    /// All memberships are wanted.
    pub(crate) members: bool,
}

impl RequiredState {
    /// What one rule of a request wants, for this user.
    pub(crate) fn new(patterns: &[StatePattern], me: &UserId) -> Self {
        let mut wanted = Self::default();
        let mut any_member = false;
        for (kind, state_key) in patterns {
            let state_key = if state_key == "$ME" { me.as_str() } else { state_key };
            match (kind.as_str(), state_key) {
                (MEMBER, "$LAZY") => wanted.lazy_members = true,
                (ANY, ANY) => (wanted.everything, any_member) = (true, true),
                (MEMBER, ANY) => wanted.all_members = true,
                (kind, ANY) => drop(wanted.types.insert(kind.to_owned())),
                (ANY, key) => drop(wanted.keys.insert(key.to_owned())),
                (kind, key) => drop(wanted.exact.insert((kind.to_owned(), key.to_owned()))),
            }
        }
        // All state with lazy members is all state without the memberships, and those as they are needed.
        wanted.all_members |= any_member && !wanted.lazy_members;
        wanted.settle();
        wanted
    }

    /// Adds what another rule wants.
    pub(crate) fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        self.all_members |= other.all_members;
        self.lazy_members |= other.lazy_members;
        self.types.extend(other.types.iter().cloned());
        self.keys.extend(other.keys.iter().cloned());
        self.exact.extend(other.exact.iter().cloned());
        self.settle();
    }

    /// Drops what is wanted anyway, so that equal wishes are equal.
    fn settle(&mut self) {
        self.lazy_members &= !self.all_members;
        if self.everything {
            self.types.clear();
        }
        let exact = std::mem::take(&mut self.exact);
        self.exact = exact.into_iter().filter(|(kind, key)| !self.wants(kind, key)).collect();
        if self.everything && self.all_members {
            self.keys.clear();
        }
    }

    /// Whether a state event is wanted, whatever the timeline holds.
    pub(crate) fn wants(&self, kind: &str, state_key: &str) -> bool {
        let by_type = if kind == MEMBER { self.all_members } else { self.everything || self.types.contains(kind) };
        by_type
            || self.keys.contains(state_key)
            || (!self.exact.is_empty() && self.exact.contains(&(kind.to_owned(), state_key.to_owned())))
    }

    /// Whether some state may be wanted that another one did not want.
    pub(crate) fn exceeds(&self, other: &Self) -> bool {
        let covers_type = |kind: &String| other.everything || other.types.contains(kind);
        let covers_key = |key: &String| other.keys.contains(key) || (other.everything && other.all_members);
        (self.everything && !other.everything)
            || (self.all_members && !other.all_members)
            || (self.lazy_members && !other.lazy_members && !other.all_members)
            || !self.types.iter().all(covers_type)
            || !self.keys.iter().all(covers_key)
            || !self.exact.iter().all(|(kind, key)| other.wants(kind, key))
    }

    pub(crate) fn reach(&self) -> Reach {
        let others = self.everything || !self.types.is_empty() || !self.keys.is_empty();
        Reach { others, members: self.all_members }
    }

    /// Types and state keys that are wanted by name. Of state keys that are wanted for all types, the memberships.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let exact = self.exact.iter().map(|(kind, key)| (kind.as_str(), key.as_str()));
        exact.chain(self.keys.iter().map(|key| (MEMBER, key.as_str())))
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 64;
        let texts = self.types.iter().chain(&self.keys).map(String::len);
        let pairs = self.exact.iter().map(|(kind, key)| kind.len() + key.len());
        texts.chain(pairs).map(|bytes| bytes + ENTRY_BYTES).sum::<usize>() + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{Reach, RequiredState};

    fn wanted(patterns: &[(&str, &str)]) -> RequiredState {
        let patterns: Vec<_> = patterns.iter().map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned())).collect();
        RequiredState::new(&patterns, user_id!("@me:a.example"))
    }

    #[test]
    fn patterns_choose_state() {
        let some = wanted(&[("m.room.name", ""), ("m.space.child", "*"), ("m.room.member", "$ME"), ("*", "x")]);
        assert!(some.wants("m.room.name", "") && !some.wants("m.room.name", "y") && !some.wants("m.room.topic", ""));
        assert!(some.wants("m.space.child", "!any") && some.wants("m.any", "x"));
        assert!(some.wants("m.room.member", "@me:a.example") && !some.wants("m.room.member", "@you:a.example"));
        assert_eq!(some.reach(), Reach { others: true, members: false });
        assert_eq!(wanted(&[("m.room.name", "")]).reach(), Reach { others: false, members: false });
    }

    #[test]
    fn all_state_with_lazy_members_leaves_the_members_out() {
        let all = wanted(&[("*", "*")]);
        assert!(all.wants("m.room.member", "@you:a.example") && all.wants("m.any", "x") && !all.lazy_members);
        let lazy = wanted(&[("*", "*"), ("m.room.member", "$LAZY")]);
        assert!(!lazy.wants("m.room.member", "@you:a.example") && lazy.wants("m.any", "x") && lazy.lazy_members);
        let mut both = lazy;
        both.add(&all);
        assert_eq!(both, all, "who wants all members wants none of them lazily");
    }

    #[test]
    fn more_is_told_from_less() {
        let (name, lazy) = (wanted(&[("m.room.name", "")]), wanted(&[("m.room.member", "$LAZY")]));
        let mut both = name.clone();
        both.add(&lazy);
        assert!(both.exceeds(&name) && both.exceeds(&lazy) && !name.exceeds(&both) && !both.exceeds(&both));
        let all = wanted(&[("*", "*")]);
        assert!(!both.exceeds(&all) && all.exceeds(&both));
        assert!(wanted(&[("m.x", "*")]).exceeds(&wanted(&[("m.x", "")])));
        assert!(!wanted(&[("m.x", "")]).exceeds(&wanted(&[("m.x", "*")])));
    }
}
