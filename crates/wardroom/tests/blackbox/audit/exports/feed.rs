//! Repositories that follow the trail; real ones are in `tests/run-atna.sh`.

use wardroom_testkit::{Config, Listener, free_port, raw, wait_until};

use crate::{SOON, server_with};

#[test]
fn a_repository_that_is_away_shows_in_the_measurements() {
    let port = free_port();
    let config = Config::default()
        .set("audit_export.allow_plain", "true")
        .set("audit_export.fhir", &format!("[{{ name = \"away\", url = \"http://127.0.0.1:{port}/fhir\" }}]"))
        .set("audit_export.syslog", &format!("[{{ name = \"gone\", host = \"127.0.0.1\", port = {port} }}]"))
        .listener(Listener { serves: vec!["metrics".to_owned()], tls: None });
    let server = server_with(config);
    let value = |text: &str, family: &str, name: &str| -> Option<u64> {
        let start = format!("{family}{{destination=\"{name}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start))?.parse().ok()
    };
    let text = wait_until("both have failed", SOON, || {
        let reply = server.ask_listener(1, &raw("/metrics")).unwrap();
        let text = String::from_utf8(reply.bytes).unwrap();
        let failed = |name| value(&text, "wardroom_audit_feed_failures", name).is_some_and(|failures| failures > 0);
        (failed("away") && failed("gone")).then_some(text)
    });
    for name in ["away", "gone"] {
        assert!(value(&text, "wardroom_audit_feed_waiting", name).is_some_and(|waiting| waiting > 0), "{text}");
        assert_eq!(value(&text, "wardroom_audit_feed_alarm", name), Some(0), "not yet: {text}");
        assert_eq!(value(&text, "wardroom_audit_feed_last_success_seconds", name), Some(0), "{text}");
    }
    assert!(server.log().contains("a destination of audit records fails"), "{}", server.log());
}
