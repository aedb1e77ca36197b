//! `wardroom admin`, against the running server.

mod holds;
mod people;
mod roles;
mod rooms;
mod session;

use std::{fs, process::Command};

use wardroom_testkit::{Ended, Server, User, Value, run, serde_json, unique};

use super::LIMIT;
use crate::{admin::admin_of, ward};

/// An administrator at the command line.
struct Operator<'a> {
    server: &'a Server,
    admin: User,
}

impl Operator<'static> {
    /// An administrator of the server that tests share.
    fn start() -> Self {
        Self::of(ward())
    }
}

impl<'a> Operator<'a> {
    fn of(server: &'a Server) -> Self {
        Self { server, admin: admin_of(server) }
    }

    /// `wardroom admin` with these arguments, and nobody signed in.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.server.command(&["admin"]);
        command.args(args).arg("--config").arg(self.server.config_path());
        command
    }

    /// Runs a command as a user.
    fn as_user(&self, user: &User, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.env("WARDROOM_ADMIN_TOKEN", &user.token);
        let ended = run(command, LIMIT);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(&user.token), "the token is told");
        ended
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.as_user(&self.admin, args)
    }

    /// What is shown.
    #[track_caller]
    fn shown(&self, args: &[&str]) -> String {
        self.run(args).ok().to_owned()
    }

    /// The same as JSON.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ended = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(ended.ok()).unwrap()
    }

    /// The server refuses, with a sentence that has these words.
    #[track_caller]
    fn refused(&self, args: &[&str], words: &[&str]) {
        let ended = self.run(args);
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:#?}");
        ended.failed(words);
    }

    /// The command is not one that can be asked.
    #[track_caller]
    fn misused(&self, args: &[&str], words: &[&str]) {
        let ended = self.run(args);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{ended:#?}");
        ended.failed(words);
    }

    /// A file in the server's directory.
    fn file(&self, content: &str) -> String {
        let path = self.server.dir().join(unique("file"));
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn nobody_but_administrators_is_served() {
    let operator = Operator::start();
    let nurse = operator.server.user("nurse");
    let ended = operator.as_user(&nurse, &["users", "list"]);
    assert_eq!(ended.code, Some(1));
    ended.failed(&["no administrator", "M_FORBIDDEN"]);
    let mut nobody = operator.command(&["users", "list"]);
    nobody.env("WARDROOM_ADMIN_TOKEN", "made up");
    let ended = run(nobody, LIMIT);
    assert_eq!(ended.code, Some(1));
    ended.failed(&["M_UNKNOWN_TOKEN", "admin login"]);
}

#[test]
fn what_cannot_be_asked_is_told_before_anything_is_sent() {
    let operator = Operator::start();
    let without = |args: &[&str]| {
        let mut command = operator.server.command(&["admin"]);
        command.args(args);
        let ended = run(command, LIMIT);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        ended
    };
    let config = operator.server.config_path();
    without(&["users", "list", "--config", config.to_str().unwrap()]).failed(&["--token-file", "WARDROOM_ADMIN_TOKEN"]);
    operator.misused(&["users", "list", "--url", "http://hospital-a.example"], &["--url", "TLS"]);
    operator.misused(&["users", "list", "--url", "ftp://127.0.0.1"], &["--url"]);
    operator.misused(&["users", "list", "--token-file", "nowhere"], &["--token-file nowhere"]);
    operator.misused(&["users", "list", "--ca", "nowhere"], &["--ca nowhere"]);
    let no_certificate = operator.file("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n");
    operator.misused(&["users", "list", "--ca", &no_certificate], &["--ca"]);
    operator.misused(&["users"], &["usage"]);
    operator.misused(&["users", "show", "not a name"], &["user id"]);
    operator.misused(&["rooms", "show", "ward"], &["alias"]);
    let free = wardroom_testkit::free_port();
    operator.refused(&["users", "list", "--url", &format!("http://127.0.0.1:{free}")], &["does not answer"]);
}
