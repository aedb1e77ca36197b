use std::{sync::Arc, time::Duration};

use ruma::{UserId, owned_server_name, owned_user_id};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wardroom_care::Role;

use super::{
    Directory, LdapFilter, LdapGroups, LdapSettings,
    ber::{ENUMERATED, INTEGER, SEQUENCE, element, group, integer, octets},
    message::tests::{end_message, entry_message},
};
use crate::{
    Fault, InactiveIf, InactiveRule, LdapRule,
    list::{List, ListMaker, Listed},
};

/// A message of a directory.
fn message(content: &[u8]) -> Vec<u8> {
    element(SEQUENCE, content)
}

fn bound(id: i32, code: i32) -> Vec<u8> {
    let answer = group(super::message::BOUND, &[integer(ENUMERATED, code), octets(b""), octets(b"")]);
    message(&[integer(INTEGER, id), answer].concat())
}

fn entry(id: i32, name: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    message(&entry_message(id, name, attributes))
}

fn end(id: i32, code: i32, cookie: Option<&[u8]>) -> Vec<u8> {
    message(&end_message(id, code, cookie))
}

fn settings(port: u16) -> LdapSettings {
    let rule = |group: &str, gives: &str| LdapRule {
        group: Some(group.to_owned()),
        attribute: None,
        value: None,
        gives: Some(Role::parse(gives).unwrap()),
    };
    LdapSettings {
        name: "staff".to_owned(),
        url: format!("ldap://127.0.0.1:{port}").parse().unwrap(),
        start_tls: false,
        bind_dn: String::new(),
        bind_password_file: None,
        base: "dc=h1".to_owned(),
        filter: LdapFilter::parse("(uid=*)").unwrap(),
        localpart_attribute: "uid".to_owned(),
        localpart_before_at: false,
        groups: LdapGroups::Attribute("memberOf".to_owned()),
        rules: vec![rule("icu", "physician@h1/icu"), rule("cn=nurses,ou=groups,dc=h1", "nurse@h1")],
        inactive: Vec::new(),
        end_sessions: false,
        poll_every: Duration::from_secs(60),
        timeout: Duration::from_secs(2),
        page_size: 2,
    }
}

fn directory(settings: LdapSettings) -> Directory {
    let tls = crate::tls::client(&[]).unwrap();
    Directory::new(settings, owned_server_name!("h1.example"), Arc::clone(&tls))
}

/// Reads a request and says what stands in it, as far as it is text.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4_096];
    let read = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A directory that answers the first requests with these bytes, and what is made of them.
async fn reading(answers: Vec<Vec<u8>>, change: impl FnOnce(&mut LdapSettings)) -> (Result<List, Fault>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port());
    change(&mut settings);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        for answer in answers {
            asked.push(request(&mut stream).await);
            let _ = stream.write_all(&answer).await;
        }
        // Until the reader goes.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        asked
    });
    let read = directory(settings).read().await;
    (read, server.await.unwrap())
}

fn roles(list: &List, localpart: &str) -> Option<(Option<bool>, Vec<String>)> {
    let user = UserId::parse(format!("@{localpart}:h1.example")).unwrap();
    let Listed { active, roles } = list.people.get(&user)?;
    Some((*active, roles.iter().map(|given| given.role.to_string()).collect()))
}

#[tokio::test]
async fn people_come_page_by_page_with_all_values() {
    let member_of = "memberOf;range=0-0";
    let first = [
        entry(
            1,
            "uid=alice,dc=h1",
            &[("uid", &["Alice"]), ("memberOf", &["cn=ICU,dc=h1", "CN=Nurses, ou=Groups,dc=h1"])],
        ),
        entry(1, "uid=bob,dc=h1", &[("uid", &["bob"]), (member_of, &["cn=other,dc=h1"])]),
        end(1, 0, Some(b"next page")),
    ];
    let rest = [entry(2, "uid=bob,dc=h1", &[("memberOf;range=1-*", &["cn=icu,dc=h1"])]), end(2, 0, None)];
    let second = [
        entry(3, "uid=eve,dc=h1", &[("uid", &["eve", "mallory"])]),
        entry(3, "uid=dan,dc=h1", &[("uid", &["dan"])]),
        end(3, 0, Some(b"")),
    ];
    let (read, asked) = reading(vec![first.concat(), rest.concat(), second.concat()], |_| {}).await;
    let list = read.unwrap();
    let both = vec!["nurse@h1".to_owned(), "physician@h1/icu".to_owned()];
    assert_eq!(roles(&list, "alice"), Some((None, both)));
    assert_eq!(roles(&list, "bob"), Some((None, vec!["physician@h1/icu".to_owned()])));
    assert_eq!(roles(&list, "dan"), Some((None, vec![])));
    assert_eq!((list.people.len(), list.skipped), (3, 1), "nobody has two names");
    assert!(asked[1].contains("range=1-*") && asked[2].contains("next page"));
}

#[tokio::test]
async fn groups_of_their_own_name_their_members() {
    let groups = [
        entry(1, "cn=ICU,ou=groups,dc=h1", &[("member", &["UID=alice, dc=h1", "bob"])]),
        entry(1, "cn=other,ou=groups,dc=h1", &[("member", &["uid=dan,dc=h1"])]),
        end(1, 0, None),
    ];
    let people = [
        entry(2, "uid=alice,dc=h1", &[("uid", &["alice"]), ("shut", &["TRUE"])]),
        entry(2, "uid=bob,dc=h1", &[("uid", &["bob"]), ("title", &["chief@h1", "of all"])]),
        entry(2, "uid=dan,dc=h1", &[("uid", &["dan"])]),
        end(2, 0, None),
    ];
    let (read, _) = reading(vec![groups.concat(), people.concat()], |settings| {
        settings.groups = LdapGroups::Search {
            base: "ou=groups,dc=h1".to_owned(),
            filter: LdapFilter::parse("(objectClass=groupOfNames)").unwrap(),
            member_attribute: "member".to_owned(),
        };
        settings.rules.push(LdapRule { group: None, attribute: Some("title".to_owned()), value: None, gives: None });
        let inactive = InactiveRule { attribute: "shut".to_owned(), is: InactiveIf::Value("true".to_owned()) };
        settings.inactive = vec![inactive];
    })
    .await;
    let list = read.unwrap();
    assert_eq!(roles(&list, "alice"), Some((Some(false), vec![])));
    let both = vec!["chief@h1".to_owned(), "physician@h1/icu".to_owned()];
    assert_eq!(roles(&list, "bob"), Some((Some(true), both)));
    assert_eq!(roles(&list, "dan"), Some((Some(true), vec![])));
}

type Expected = Box<dyn Fn(&Fault) -> bool>;

#[tokio::test]
async fn what_is_not_certainly_everything_is_nothing() {
    let person = entry(1, "uid=alice,dc=h1", &[("uid", &["alice"])]);
    let cut = entry(1, "uid=bob,dc=h1", &[("uid", &["bob"])]);
    let ranged = entry(1, "uid=bob,dc=h1", &[("memberOf;range=0-0", &["cn=icu,dc=h1"])]);
    let with = |more: Vec<u8>| vec![[person.clone(), more].concat()];
    let refused = |code| move |fault: &Fault| matches!(fault, Fault::Refused { code: found, .. } if *found == code);
    let cases: Vec<(Vec<Vec<u8>>, Expected)> = vec![
        (with(end(1, 4, None)), Box::new(refused(4))),
        (with(end(1, 10, None)), Box::new(refused(10))),
        (with(end(0, 52, None)), Box::new(|fault| matches!(fault, Fault::Ended))),
        (with(cut[..cut.len() - 3].to_vec()), Box::new(|fault| matches!(fault, Fault::TimedOut(_)))),
        (with(vec![0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), Box::new(|fault| matches!(fault, Fault::TooMuch("bytes", _)))),
        (with(b"HTTP/1.1 200 OK".to_vec()), Box::new(|fault| matches!(fault, Fault::Malformed(_)))),
        (with(end(9, 0, None)), Box::new(|fault| matches!(fault, Fault::Malformed(_)))),
        (vec![[ranged, end(1, 0, None)].concat(), end(2, 0, None)], Box::new(|fault| matches!(fault, Fault::Partial))),
    ];
    for (index, (answers, expected)) in cases.into_iter().enumerate() {
        let fault = reading(answers, |_| {}).await.0.unwrap_err();
        assert!(expected(&fault), "case {index}: {fault}");
    }
}

#[tokio::test]
async fn directories_that_are_away_or_refuse_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(matches!(directory(settings(port)).read().await, Err(Fault::Unreachable(_))));

    let file = std::env::temp_dir().join(format!("wardroom-ldap-{}", std::process::id()));
    std::fs::write(&file, "secret\n").unwrap();
    let with_password = |settings: &mut LdapSettings| {
        settings.bind_dn = "cn=reader,dc=h1".to_owned();
        settings.bind_password_file = Some(file.clone());
    };
    let (read, asked) = reading(vec![bound(1, 49)], with_password).await;
    assert!(matches!(read, Err(Fault::Refused { what: "the bind", code: 49 })));
    assert!(asked[0].ends_with("cn=reader,dc=h1\u{fffd}\u{6}secret"), "{:?}", asked[0]);
    std::fs::write(&file, "\n").unwrap();
    let (mut one, _) = (settings(port), ());
    with_password(&mut one);
    assert!(matches!(directory(one).read().await, Err(Fault::Secret { .. })), "nobody in particular is not asked for");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn nothing_is_said_before_tls() {
    let refusal = group(super::message::EXTENDED_DONE, &[integer(ENUMERATED, 52), octets(b""), octets(b"")]);
    let refusal = message(&[integer(INTEGER, 1), refusal].concat());
    let (read, asked) = reading(vec![refusal], |settings| settings.start_tls = true).await;
    assert!(matches!(read, Err(Fault::Refused { what: "StartTLS", code: 52 })));
    assert!(asked[0].contains("1.3.6.1.4.1.1466.20037"));
    let agreed = group(super::message::EXTENDED_DONE, &[integer(ENUMERATED, 0), octets(b""), octets(b"")]);
    let mut agreed = message(&[integer(INTEGER, 1), agreed].concat());
    // What somebody on the way adds in the clear is none of the directory's answers.
    agreed.extend(end(2, 0, None));
    let (read, _) = reading(vec![agreed], |settings| settings.start_tls = true).await;
    assert!(matches!(read, Err(Fault::Tls(_))), "{read:?}");
}

#[test]
fn a_list_is_of_users_of_this_server() {
    let mut maker = ListMaker::new(owned_server_name!("h1.example"), false);
    maker.add(Some("Alice@ward"), Listed::default());
    assert!(maker.finish().people.contains_key(&owned_user_id!("@alice=40ward:h1.example")));
}
