//! Signing in and out.

use std::{fs, os::unix::fs::PermissionsExt as _};

use wardroom_testkit::{Actor as _, run, unique, v3};

use super::{super::LIMIT, Operator};

#[test]
fn an_administrator_signs_in_and_out() {
    let operator = Operator::start();
    let (server, admin) = (operator.server, &operator.admin);
    let password = operator.file(&format!("{}\nnot this line\n", admin.password));
    let token = server.dir().join(unique("token"));
    let token = token.to_str().unwrap();
    let with = |args: &[&str]| run(operator.command(&[args, &["--token-file", token]].concat()), LIMIT);

    let signed_in = with(&["login", &admin.localpart, "--password-file", &password]);
    assert!(signed_in.ok().contains(&admin.id), "{signed_in:#?}");
    let kept = fs::read_to_string(token).unwrap();
    assert!(!signed_in.stdout.contains(kept.trim()), "the token is kept, not shown");
    assert_eq!(fs::metadata(token).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(with(&["users", "show", &admin.localpart]).ok().contains(&admin.id));
    // Once more takes the place of the first.
    with(&["login", &admin.id, "--password-file", &password]).ok();
    assert_ne!(fs::read_to_string(token).unwrap(), kept);
    let second = fs::read_to_string(token).unwrap();
    with(&["logout"]).ok();
    assert!(!fs::exists(token).unwrap());
    admin.with_token(second.trim()).get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    admin.get(v3(&["account", "whoami"])).ok();
}

#[test]
fn a_wrong_password_leaves_no_file() {
    let operator = Operator::start();
    let wrong = operator.file("not the password\n");
    let token = operator.server.dir().join(unique("token"));
    let token = token.to_str().unwrap();
    let name = &operator.admin.localpart;
    operator.refused(&["login", name, "--password-file", &wrong, "--token-file", token], &["M_FORBIDDEN"]);
    assert!(!fs::exists(token).unwrap());
    operator.misused(&["login", name, "--password-file", &wrong], &["--token-file"]);
    let right = operator.file(&operator.admin.password);
    let nowhere = ["login", name, "--password-file", &right, "--token-file", "nowhere/token"];
    operator.misused(&nowhere, &["--token-file nowhere/token"]);
    let devices = operator.admin.get(v3(&["devices"])).ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "the session that nobody can use is gone: {devices}");
    operator.misused(&["login", name, "--password-file", "nowhere", "--token-file", token], &["nowhere"]);
}
