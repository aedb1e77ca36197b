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

#[test]
fn a_session_ends_with_its_age_however_busy_it_is() {
    let server = Server::start_with(crate::BINARY, Config::default().set("sessions.max_age_seconds", "3"));
    let nurse = server.user("nurse");
    let busy = wait_until("the end of the session", SOON, || {
        Some(nurse.get(v3(&["account", "whoami"]))).filter(|answer| answer.status != 200)
    });
    busy.refused(401, "M_UNKNOWN_TOKEN");
    let again = nurse.anonymous().login(&nurse.localpart, &nurse.password);
    again.get(v3(&["account", "whoami"])).ok();
    nurse.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
}
