//! Following `/sync`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    Actor, User,
    http::{Reply, v3},
};

/// How long one long poll of a follower waits; a condition that comes true later is seen by the next poll.
const POLL: Duration = Duration::from_secs(5);

/// A user's sync stream: remembers `next_batch` and the filter.
#[derive(Clone, Debug)]
pub struct Follower<'a> {
    user: &'a User,
    filter: Option<String>,
    since: String,
}

impl User {
    /// One `GET /sync`, as it is answered.
    #[track_caller]
    pub fn try_sync(&self, since: Option<&str>, timeout: Duration, filter: Option<&str>) -> Reply {
        let mut target = v3(&["sync"]).query("timeout", &timeout.as_millis().to_string());
        if let Some(since) = since {
            target = target.query("since", since);
        }
        if let Some(filter) = filter {
            target = target.query("filter", filter);
        }
        self.get(target)
    }

    /// An initial sync.
    #[track_caller]
    pub fn initial_sync(&self) -> Value {
        self.try_sync(None, Duration::ZERO, None).ok()
    }
}

impl<'a> Follower<'a> {
    /// Follows from now on: the initial sync is made and thrown away.
    #[track_caller]
    pub fn start(user: &'a User) -> Self {
        Self::start_filtered(user, None)
    }

    /// Follows from now on with a filter.
    #[track_caller]
    pub fn start_filtered(user: &'a User, filter: Option<&Value>) -> Self {
        let filter = filter.map(Value::to_string);
        let first = user.try_sync(None, Duration::ZERO, filter.as_deref()).ok();
        Self { user, filter, since: next_batch(&first) }
    }

    /// Follows from a `next_batch` of an earlier answer.
    pub fn since(user: &'a User, since: &str) -> Self {
        Self { user, filter: None, since: since.to_owned() }
    }

    /// The token that the next sync will send.
    pub fn token(&self) -> &str {
        &self.since
    }

    /// What happened since the last answer, without waiting.
    #[track_caller]
    pub fn now(&mut self) -> Value {
        self.poll(Duration::ZERO)
    }

    /// The next answer of a long poll.
    #[track_caller]
    pub fn poll(&mut self, timeout: Duration) -> Value {
        let answer = self.user.try_sync(Some(&self.since), timeout, self.filter.as_deref()).ok();
        self.since = next_batch(&answer);
        answer
    }

    /// Long polls until an answer meets a condition, and gives that answer.
    ///
    /// # Panics
    /// When none does within `limit`; the message has the answers.
    #[track_caller]
    pub fn until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.poll(left.min(POLL));
            if condition(&answer) {
                return answer;
            }
            seen.push(answer);
            assert!(Instant::now() < deadline, "{what}: not within {limit:?}; syncs said {seen:#?}");
        }
    }
}

#[track_caller]
fn next_batch(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap_or_else(|| panic!("a sync answer has next_batch: {answer}")).to_owned()
}
