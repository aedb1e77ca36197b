//! Which listeners serve media.

use wardroom_testkit::{Actor, Config, Listener, json, raw};

use crate::server_with;

#[test]
fn media_are_served_where_they_are_told() {
    let only = |part: &str| Listener { serves: vec![part.to_owned()], tls: None };
    let server =
        server_with(Config::default().listener(only("client")).listener(only("media")).listener(only("metrics")));
    let ask =
        |listener, path: &str| server.ask_listener(listener, &raw(path)).unwrap_or_else(|why| panic!("{}", why.0));
    let config = "/_matrix/client/v1/media/config";
    ask(1, config).refused(404, "M_UNRECOGNIZED");
    ask(1, "/_matrix/media/v3/config").refused(404, "M_UNRECOGNIZED");
    ask(2, config).refused(401, "M_MISSING_TOKEN");
    ask(2, "/_matrix/client/versions").refused(404, "M_UNRECOGNIZED");
    let alice = server.user("alice");
    assert_eq!(alice.get(raw(config)).ok(), json!({ "m.upload.size": 104_857_600 }));
    super::upload(&alice, &[1; 1_234], "text/plain", None);
    let metrics = String::from_utf8(ask(3, "/metrics").bytes).unwrap();
    assert!(metrics.contains("\nwardroom_media_files 1\n"), "{metrics}");
    assert!(metrics.contains("\nwardroom_media_bytes 1234\n"), "{metrics}");
}
