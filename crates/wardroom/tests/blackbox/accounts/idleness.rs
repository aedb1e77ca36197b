//! Automatic logoff (45 CFR 164.312(a)(2)(iii)).

use std::time::{Duration, Instant};

use wardroom_testkit::{Actor, Config, Server, v3, wait_until};

use crate::SOON;

#[test]
fn an_idle_device_is_logged_off_and_others_are_not() {
    let server = Server::start_with(crate::BINARY, Config::default().set("sessions.idle_logout_seconds", "4"));
    let phone = server.user("nurse");
    let ward = phone.other_device();
    let began = Instant::now();
    wait_until("the end of the time", SOON, || {
        phone.get(v3(&["account", "whoami"])).ok();
        // A client that goes on by itself.
        let _ = ward.get(v3(&["sync"]));
        (began.elapsed() > Duration::from_secs(5)).then_some(())
    });
    let refused = ward.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(refused["soft_logout"], true, "the keys of the device stay: {refused}");
    phone.get(v3(&["account", "whoami"])).ok();
}
