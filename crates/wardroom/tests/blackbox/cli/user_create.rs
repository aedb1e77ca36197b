//! `wardroom user create`.

use std::fs;

use wardroom_testkit::{Actor, Config, Ended, Server, run};

use super::LIMIT;
use crate::server_with;

fn create(server: &Server, args: &[&str], password: &str) -> Ended {
    fs::write(server.dir().join("password"), password).unwrap();
    let mut command = server.command(&["user", "create", "--config"]);
    command.arg(server.config_path()).args(["--password-file", "password"]).args(args);
    run(command, LIMIT)
}

#[test]
fn an_administrator_is_created_while_the_server_is_stopped() {
    let mut server = server_with(Config::default().unset("registration.open"));
    let busy = create(&server, &["--admin", "boss"], "secret\n");
    busy.failed(&["running"]);
    server.stop();
    create(&server, &["--admin", "boss"], "secret\n").ok();
    create(&server, &["nurse"], "another").ok();
    create(&server, &["--admin", "boss"], "secret").failed(&["boss"]);
    create(&server, &["not a name"], "secret").failed(&["name"]);
    create(&server, &["empty"], "\n").failed(&["password"]);

    server.start_again();
    let nobody = server.anonymous();
    let boss = nobody.login("boss", "secret");
    assert_eq!(boss.id, format!("@boss:{}", server.name()));
    assert_eq!(boss.get(wardroom_testkit::v3(&["account", "whoami"])).ok()["user_id"], boss.id.as_str());
    nobody.login("nurse", "another");
    nobody.try_login("empty", "").refused_somehow();
}
