//! `M_LIMIT_EXCEEDED`.

use wardroom_testkit::{Actor, Config, Reply, v3};

use crate::server_with;

/// More attempts than any sane default allows at once.
const ATTEMPTS_MAX: usize = 2_000;

/// Checks the form of a 429 (client-server API, "Rate limiting").
#[track_caller]
fn assert_limited(answer: &Reply) {
    let json = answer.refused(429, "M_LIMIT_EXCEEDED");
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!(seconds <= 3_600, "{}", answer.story());
    if let Some(ms) = json.get("retry_after_ms") {
        assert!(ms.as_u64().is_some_and(|ms| ms <= 3_600_000), "{}", answer.story());
    }
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let server = server_with(Config::default().unset("rate_limits.enabled"));
    let alice = server.user("alice");
    let nobody = server.anonymous();
    let answers = std::iter::repeat_with(|| nobody.try_login(&alice.id, "wrong")).take(ATTEMPTS_MAX);
    let limited = answers.into_iter().find(|answer| answer.status != 403).expect("a limit");
    assert_limited(&limited);
    // Whoever is logged in already is not locked out by it.
    alice.get(v3(&["account", "whoami"])).ok();
}

#[test]
fn a_flood_of_messages_is_slowed_down_for_its_sender_only() {
    let server = server_with(Config::default().unset("rate_limits.enabled"));
    let (flooder, bob) = (server.user("flooder"), server.user("bob"));
    let room = flooder.create_public_room(&[&bob]);
    let limited = (0..ATTEMPTS_MAX)
        .map(|n| flooder.try_send(&room, "m.room.message", &format!("flood-{n}"), wardroom_testkit::text("flood")))
        .find(|answer| answer.status != 200)
        .expect("a limit");
    assert_limited(&limited);
    bob.say(&room, "I may speak");
}
