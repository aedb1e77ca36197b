//! What administrators do over `/_synapse/admin` and `/_wardroom/admin`.

mod content;
mod deletion;
mod export;
mod history;
mod media;
mod people;
mod redaction;
mod registration_tokens;
mod reports;
mod rooms;
mod scopes;
mod users;

use wardroom_testkit::{Server, Target, User, encode, raw, unique};

const SECRET: &str = "a shared secret of the tests";

/// An administrator of a server.
#[track_caller]
pub(crate) fn admin_of(server: &Server) -> User {
    let answer = server.anonymous().register_with_secret(SECRET, &unique("admin"), true).ok();
    User::from_answer(server.http(), &answer, "correct horse battery staple")
}

/// An endpoint of Synapse's administration API.
pub(crate) fn synapse(segments: &[&str]) -> Target {
    raw(&format!("/_synapse/admin/{}", path(segments)))
}

/// An endpoint of this server's own administration API.
pub(crate) fn own(segments: &[&str]) -> Target {
    raw(&format!("/_wardroom/admin/v1/{}", path(segments)))
}

fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| encode(segment)).collect::<Vec<_>>().join("/")
}
