//! What waits in memory for one server and may get lost: typing, presence, receipts.

use std::collections::VecDeque;

use super::OutgoingEdu;

/// Waiting for one server at most; of more, the oldest go.
pub(super) const SIGNALS_PER_SERVER_MAX: usize = 200;
/// How long typing is worth telling, in milliseconds.
const TYPING_AGE_MAX_MS: u64 = 30_000;
/// How long anything is, in milliseconds.
pub(super) const SIGNAL_AGE_MAX_MS: u64 = 5 * 60 * 1_000;
/// What a signal costs in memory besides its content, about.
const SIGNAL_OVERHEAD_BYTES: usize = 150;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) edu: OutgoingEdu,
    /// When it was told to us, in milliseconds since the epoch.
    pub(super) since_ms: u64,
}

impl Signal {
    pub(super) fn bytes(&self) -> usize {
        let key = self.edu.coalesce.as_ref().map_or(0, String::len);
        SIGNAL_OVERHEAD_BYTES + key + self.edu.content.get().len()
    }

    fn is_worth_telling(&self, now_ms: u64) -> bool {
        let age_max_ms = if self.edu.kind == "m.typing" { TYPING_AGE_MAX_MS } else { SIGNAL_AGE_MAX_MS };
        now_ms.saturating_sub(self.since_ms) <= age_max_ms
    }

    fn replaces(&self, other: &Self) -> bool {
        self.edu.coalesce.is_some() && self.edu.kind == other.edu.kind && self.edu.coalesce == other.edu.coalesce
    }
}

/// Those of one server, oldest first.
#[derive(Debug, Default)]
pub(super) struct Signals {
    waiting: VecDeque<Signal>,
    bytes: usize,
}

impl Signals {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What they cost in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one, in the place of the one that it replaces.
    pub(super) fn add(&mut self, signal: Signal) {
        self.bytes += signal.bytes();
        if let Some(old) = self.waiting.iter_mut().find(|old| signal.replaces(old)) {
            self.bytes -= old.bytes();
            *old = signal;
            return;
        }
        self.waiting.push_back(signal);
        while self.waiting.len() > SIGNALS_PER_SERVER_MAX {
            self.drop_oldest();
        }
    }

    /// Puts back what could not be sent, unless something newer took its place.
    pub(super) fn put_back(&mut self, signals: Vec<Signal>) {
        for signal in signals.into_iter().rev() {
            let is_superseded = self.waiting.iter().any(|newer| newer.replaces(&signal));
            if !is_superseded && self.waiting.len() < SIGNALS_PER_SERVER_MAX {
                self.bytes += signal.bytes();
                self.waiting.push_front(signal);
            }
        }
    }

    /// Takes the oldest that are still worth telling, in so many bytes of content.
    pub(super) fn take(&mut self, now_ms: u64, count_max: usize, bytes_max: usize) -> Vec<Signal> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < count_max
            && let Some(signal) = self.waiting.pop_front()
        {
            self.bytes -= signal.bytes();
            if !signal.is_worth_telling(now_ms) {
                continue;
            }
            bytes += signal.bytes();
            if bytes > bytes_max && !taken.is_empty() {
                self.bytes += signal.bytes();
                self.waiting.push_front(signal);
                break;
            }
            taken.push(signal);
        }
        taken
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn drop_oldest(&mut self) {
        if let Some(signal) = self.waiting.pop_front() {
            self.bytes -= signal.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::{SIGNAL_AGE_MAX_MS, SIGNALS_PER_SERVER_MAX, Signal, Signals};
    use crate::OutgoingEdu;

    fn signal(kind: &'static str, key: Option<&str>, number: usize, since_ms: u64) -> Signal {
        let content = to_raw_value(&json!({ "number": number })).unwrap();
        Signal { edu: OutgoingEdu { kind, coalesce: key.map(str::to_owned), content }, since_ms }
    }

    fn contents(signals: &[Signal]) -> Vec<&str> {
        signals.iter().map(|signal| signal.edu.content.get()).collect()
    }

    #[test]
    fn the_newest_of_a_key_is_told() {
        let mut signals = Signals::default();
        signals.add(signal("m.receipt", Some("a"), 1, 0));
        signals.add(signal("m.receipt", Some("b"), 2, 0));
        signals.add(signal("m.receipt", Some("a"), 3, 0));
        signals.add(signal("m.presence", Some("a"), 4, 0));
        signals.add(signal("m.presence", None, 5, 0));
        signals.add(signal("m.presence", None, 6, 0));
        let taken = signals.take(0, 100, usize::MAX);
        let numbers = [3, 2, 4, 5, 6].map(|number| format!("{{\"number\":{number}}}"));
        assert_eq!(contents(&taken), numbers);
        assert_eq!((signals.bytes(), signals.len()), (0, 0));
    }

    #[test]
    fn what_failed_comes_back_unless_it_is_outdated() {
        let mut signals = Signals::default();
        signals.add(signal("m.receipt", Some("a"), 1, 0));
        signals.add(signal("m.receipt", Some("b"), 2, 0));
        let taken = signals.take(0, 100, usize::MAX);
        signals.add(signal("m.receipt", Some("a"), 3, 0));
        signals.put_back(taken);
        assert_eq!(contents(&signals.take(0, 100, usize::MAX)), [r#"{"number":2}"#, r#"{"number":3}"#]);
        signals.add(signal("m.typing", None, 4, 0));
        signals.add(signal("m.receipt", None, 5, 0));
        assert_eq!(contents(&signals.take(31_000, 100, usize::MAX)), [r#"{"number":5}"#], "typing is over");
        signals.add(signal("m.receipt", None, 6, 0));
        assert!(signals.take(SIGNAL_AGE_MAX_MS + 1, 100, usize::MAX).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut signals = Signals::default();
        for number in 0..10 * SIGNALS_PER_SERVER_MAX {
            signals.add(signal("m.presence", None, number, 0));
        }
        assert_eq!(signals.len(), SIGNALS_PER_SERVER_MAX);
        let bytes = signals.bytes();
        assert_eq!(signals.take(0, 7, usize::MAX).len(), 7);
        assert_eq!(signals.take(0, 100, 1).len(), 1, "one always fits");
        assert!(signals.bytes() < bytes);
        let taken = signals.take(0, usize::MAX, usize::MAX);
        assert_eq!(signals.bytes(), 0);
        signals.put_back(taken);
        assert_eq!(signals.len(), SIGNALS_PER_SERVER_MAX - 8);
    }
}
