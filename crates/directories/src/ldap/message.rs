//! Requests and answers of the protocol (RFC 4511), and pages of results (RFC 2696).

use super::{
    ber::{BOOLEAN, ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET, element, group, integer, octets},
    filter::LdapFilter,
};
use crate::Fault;

const VERSION: i32 = 3;
const BIND: u8 = 0x60;
const UNBIND: u8 = 0x42;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;
const CONTROLS: u8 = 0xA0;
const SIMPLE: u8 = 0x80;
const REQUEST_NAME: u8 = 0x80;
pub(crate) const BOUND: u8 = 0x61;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const REFERENCE: u8 = 0x73;
const INTERMEDIATE: u8 = 0x79;
pub(crate) const EXTENDED_DONE: u8 = 0x78;
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const PAGED_RESULTS: &[u8] = b"1.2.840.113556.1.4.319";
const SUCCESS: i32 = 0;
const NEVER_FOLLOW_ALIASES: i32 = 0;

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// One entry.
    Base,
    /// It, and everything below it.
    Subtree,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) base: String,
    pub(crate) scope: Scope,
    pub(crate) filter: LdapFilter,
    pub(crate) attributes: Vec<String>,
}

/// An attribute of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// In small letters.
    pub(crate) name: String,
    /// Those that are texts.
    pub(crate) values: Vec<String>,
    /// Where the values go on that the directory did not send at once (the option `range` of Active Directory).
    pub(crate) rest_from: Option<u32>,
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
}

impl Entry {
    /// The values of an attribute.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let ours = self.attributes.iter().filter(move |attribute| attribute.name.eq_ignore_ascii_case(name));
        ours.flat_map(|attribute| attribute.values.iter().map(String::as_str))
    }

    /// Whether all values of all its attributes are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.attributes.iter().all(|attribute| attribute.rest_from.is_none())
    }
}

/// What comes back for a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(Entry),
    /// That something is elsewhere, or in progress: neither is followed.
    Aside,
    /// The end of the page, with what the next one is asked for by.
    End(Option<Vec<u8>>),
}

fn request(id: i32, operation: Vec<u8>, controls: Option<Vec<u8>>) -> Vec<u8> {
    let mut parts = vec![integer(INTEGER, id), operation];
    parts.extend(controls.map(|controls| element(CONTROLS, &controls)));
    group(SEQUENCE, &parts)
}

/// A simple bind.
pub(crate) fn bind(id: i32, name: &str, password: &[u8]) -> Vec<u8> {
    let parts = [integer(INTEGER, VERSION), octets(name.as_bytes()), element(SIMPLE, password)];
    request(id, group(BIND, &parts), None)
}

pub(crate) fn unbind(id: i32) -> Vec<u8> {
    request(id, element(UNBIND, &[]), None)
}

pub(crate) fn start_tls(id: i32) -> Vec<u8> {
    request(id, group(EXTENDED, &[element(REQUEST_NAME, START_TLS)]), None)
}

/// A page of a search: so many entries, after those that a cookie stands for.
pub(crate) fn search(id: i32, search: &Search, (page_size, cookie): (i32, &[u8])) -> Vec<u8> {
    let scope = match search.scope {
        Scope::Base => 0,
        Scope::Subtree => 2,
    };
    let attributes: Vec<Vec<u8>> = search.attributes.iter().map(|name| octets(name.as_bytes())).collect();
    let operation = group(
        SEARCH,
        &[
            octets(search.base.as_bytes()),
            integer(ENUMERATED, scope),
            integer(ENUMERATED, NEVER_FOLLOW_ALIASES),
            // Neither entries nor seconds are limited here: a list that is cut off is of no use.
            integer(INTEGER, 0),
            integer(INTEGER, 0),
            element(BOOLEAN, &[0]),
            search.filter.bytes(),
            group(SEQUENCE, &attributes),
        ],
    );
    let page = group(SEQUENCE, &[integer(INTEGER, page_size), octets(cookie)]);
    // Not critical: a directory without pages answers with everything, or says that it is too much.
    let control = group(SEQUENCE, &[octets(PAGED_RESULTS), octets(&page)]);
    request(id, operation, Some(control))
}

/// An answer's tag, content and controls. The message is what stands in its outermost element.
fn answer(id: i32, message: &[u8]) -> Result<(u8, &[u8], &[u8]), Fault> {
    let mut parts = Elements::new(message);
    let answered = parts.number(INTEGER)?;
    let (tag, content) = parts.next()?.ok_or(Fault::Malformed("an answer without an operation"))?;
    // The notice of disconnection (RFC 4511, section 4.4.1) answers nothing.
    if answered == 0 {
        return Err(Fault::Ended);
    }
    if answered != id {
        return Err(Fault::Malformed("an answer to something that was not asked"));
    }
    let controls = match parts.next()? {
        Some((CONTROLS, controls)) => controls,
        _ => &[],
    };
    Ok((tag, content, controls))
}

/// Whether something other than a search was done.
pub(crate) fn done(id: i32, tag: u8, what: &'static str, message: &[u8]) -> Result<(), Fault> {
    match answer(id, message)? {
        (found, content, _) if found == tag => succeeded(what, content),
        _ => Err(Fault::Malformed("an answer to something else")),
    }
}

fn succeeded(what: &'static str, content: &[u8]) -> Result<(), Fault> {
    match Elements::new(content).number(ENUMERATED)? {
        SUCCESS => Ok(()),
        code => Err(Fault::Refused { what, code }),
    }
}

/// What a message says of a search.
pub(crate) fn found(id: i32, message: &[u8]) -> Result<Found, Fault> {
    let (tag, content, controls) = answer(id, message)?;
    match tag {
        ENTRY => entry(content).map(Found::Entry),
        REFERENCE | INTERMEDIATE => Ok(Found::Aside),
        DONE => {
            succeeded("the search", content)?;
            Ok(Found::End(cookie(controls)?))
        }
        _ => Err(Fault::Malformed("an answer to something else")),
    }
}

fn entry(content: &[u8]) -> Result<Entry, Fault> {
    let mut parts = Elements::new(content);
    let name = parts.text()?.to_owned();
    let (mut list, mut attributes) = (Elements::new(parts.take(SEQUENCE)?), Vec::new());
    while let Some((tag, attribute)) = list.next()? {
        if tag != SEQUENCE {
            return Err(Fault::Malformed("an entry with something that is no attribute"));
        }
        attributes.push(self::attribute(attribute)?);
    }
    Ok(Entry { name, attributes })
}

fn attribute(content: &[u8]) -> Result<Attribute, Fault> {
    let mut parts = Elements::new(content);
    let described = parts.text()?.to_lowercase();
    let (mut set, mut values) = (Elements::new(parts.take(SET)?), Vec::new());
    while let Some((tag, value)) = set.next()? {
        if tag != OCTETS {
            return Err(Fault::Malformed("an attribute with something that is no value"));
        }
        values.extend(std::str::from_utf8(value).ok().map(str::to_owned));
    }
    let (name, rest_from) = match described.split_once(";range=") {
        Some((name, range)) => {
            let last = range.rsplit('-').next().unwrap_or_default();
            let next = last.parse::<u32>().ok().and_then(|last| last.checked_add(1));
            if next.is_none() && last != "*" {
                return Err(Fault::Malformed("a range of values that is none"));
            }
            (name.to_owned(), next)
        }
        None => (described, None),
    };
    Ok(Attribute { name, values, rest_from })
}

/// By what the next page is asked for; none after the last one.
fn cookie(controls: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut list = Elements::new(controls);
    while let Some((_, control)) = list.next()? {
        let mut parts = Elements::new(control);
        if parts.take(OCTETS)? != PAGED_RESULTS {
            continue;
        }
        while let Some((tag, value)) = parts.next()? {
            if tag == OCTETS {
                let mut page = Elements::new(Elements::new(value).take(SEQUENCE)?);
                page.number(INTEGER)?;
                let cookie = page.take(OCTETS)?;
                return Ok(Some(cookie.to_vec()).filter(|cookie| !cookie.is_empty()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::{Attribute, CONTROLS, DONE, ENTRY, Found, PAGED_RESULTS, found};
    use crate::{
        Fault,
        ldap::ber::{ENUMERATED, INTEGER, SEQUENCE, SET, element, group, integer, octets},
    };

    /// What a directory answers with an entry.
    pub(crate) fn entry_message(id: i32, name: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
        let attribute = |(name, values): &(&str, &[&str])| {
            let values: Vec<Vec<u8>> = values.iter().map(|value| octets(value.as_bytes())).collect();
            group(SEQUENCE, &[octets(name.as_bytes()), group(SET, &values)])
        };
        let attributes: Vec<Vec<u8>> = attributes.iter().map(attribute).collect();
        let entry = group(ENTRY, &[octets(name.as_bytes()), group(SEQUENCE, &attributes)]);
        [integer(INTEGER, id), entry].concat()
    }

    /// What a directory answers at the end, with a cookie or without the control.
    pub(crate) fn end_message(id: i32, code: i32, cookie: Option<&[u8]>) -> Vec<u8> {
        let done = group(DONE, &[integer(ENUMERATED, code), octets(b""), octets(b"")]);
        let control = cookie.map(|cookie| {
            let value = group(SEQUENCE, &[integer(INTEGER, 0), octets(cookie)]);
            element(CONTROLS, &group(SEQUENCE, &[octets(PAGED_RESULTS), octets(&value)]))
        });
        [integer(INTEGER, id), done, control.unwrap_or_default()].concat()
    }

    #[test]
    fn entries_and_ends_are_read() {
        let message = entry_message(7, "uid=a,dc=h1", &[("memberOf;range=0-1", &["cn=x", "cn=y"]), ("uid", &["a"])]);
        let Found::Entry(entry) = found(7, &message).unwrap() else { panic!("no entry") };
        assert_eq!(entry.name, "uid=a,dc=h1");
        assert_eq!(entry.values("UID").collect::<Vec<_>>(), ["a"]);
        let values = vec!["cn=x".to_owned(), "cn=y".to_owned()];
        assert_eq!(entry.attributes[0], Attribute { name: "memberof".to_owned(), values, rest_from: Some(2) });
        assert_eq!(found(7, &end_message(7, 0, Some(b"more"))).unwrap(), Found::End(Some(b"more".to_vec())));
        assert_eq!(found(7, &end_message(7, 0, Some(b""))).unwrap(), Found::End(None));
        assert_eq!(found(7, &end_message(7, 0, None)).unwrap(), Found::End(None));
    }

    #[test]
    fn what_is_not_the_end_of_what_was_asked_is_told() {
        assert!(matches!(found(7, &end_message(7, 4, None)), Err(Fault::Refused { code: 4, .. })));
        assert!(matches!(found(7, &end_message(0, 52, None)), Err(Fault::Ended)));
        assert!(matches!(found(7, &end_message(8, 0, None)), Err(Fault::Malformed(_))));
        assert!(found(7, &entry_message(7, "", &[("member;range=x", &[])])).is_err());
        assert!(found(7, &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(mut message in Just(entry_message(7, "a", &[("b", &["c"])])), at: usize, byte: u8) {
            let at = at % message.len();
            message[at] = byte;
            let _ = found(7, &message);
            message.truncate(at);
            let _ = found(7, &message);
        }
    }
}
