//! Which records a search of FHIR means (IHE ITI-81; FHIR R4, "Search").

use ulid::Ulid;
use wardroom_audit::{Act, AuditError, AuditLog, Entry, Outcome, Query, Record};
use wardroom_clock::dates;

use crate::{codes::Code, matrix_uri, meaning};

/// Records on a page where the search does not say.
pub const COUNT_DEFAULT: usize = 100;
/// Records on a page at most.
pub const COUNT_MAX: usize = 1_000;
/// Records that one page looks at, at most: of what is rare, a page holds less than was asked for, and leads on.
const LOOKED_AT_MAX: usize = 20_000;
/// Values of all parameters of a search together.
const VALUES_MAX: usize = 200;

/// Parameters of searches, as they are told of in the capability statement: name, type, and what it is.
pub const SEARCH_PARAMETERS: &[(&str, &str, &str)] = &[
    ("_id", "token", "The record's id"),
    ("date", "date", "When it was recorded; eq, ge, gt, le, lt, sa, eb"),
    ("agent", "reference", "By this user, device, server or service; by identifier or Matrix URI"),
    ("entity", "reference", "On this user, room, event, file or device; by identifier or Matrix URI"),
    ("patient", "reference", "Records name no patients: nothing is found"),
    ("address", "string", "From this network address"),
    ("type", "token", "Type of the event"),
    ("subtype", "token", "More of its type"),
    ("action", "token", "C, R, U, D or E"),
    ("outcome", "token", "0, 4, 8 or 12"),
];

/// A parameter that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {sentence}")]
pub struct Misunderstood {
    /// The parameter.
    pub name: String,
    /// What is wrong with it.
    pub sentence: &'static str,
    /// Whether there is no such parameter, which a lenient server passes over.
    pub unknown: bool,
}

/// Which records: those that meet all conditions, each of which may name several values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    acts: Option<Vec<Act>>,
    actions: Option<Vec<String>>,
    outcomes: Option<Vec<Outcome>>,
    agents: Vec<Vec<String>>,
    entities: Vec<Vec<String>>,
    addresses: Vec<Vec<String>>,
    ids: Option<Vec<String>>,
    from_ms: Option<u64>,
    before_ms: Option<u64>,
    /// A condition that no record meets.
    nothing: bool,
    values: usize,
}

/// Part of what was found, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The records.
    pub entries: Vec<Entry>,
    /// Behind which number the search goes on; none at the end.
    pub next: Option<u64>,
}

impl Selection {
    /// Adds a parameter.
    ///
    /// # Errors
    /// When there is none of this name, or its value cannot be understood; nothing was added then.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), Misunderstood> {
        let wrong = |sentence| Misunderstood { name: name.to_owned(), sentence, unknown: false };
        let values: Vec<String> = value.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect();
        self.values = self.values.saturating_add(values.len());
        if values.is_empty() {
            return Err(wrong("it has no value"));
        }
        if self.values > VALUES_MAX {
            return Err(wrong("the search has more values than this server compares with"));
        }
        match name {
            "_id" => narrow(&mut self.ids, values),
            "date" => {
                self.add_date(value).ok_or_else(|| wrong("not eq, ge, gt, le, lt, sa or eb with a date or time"))?
            }
            "agent" | "agent.identifier" | "agent:identifier" => self.agents.push(names(values)),
            "entity" | "entity.identifier" | "entity:identifier" => self.entities.push(names(values)),
            "address" => self.addresses.push(values),
            "patient" | "patient.identifier" | "patient:identifier" => self.nothing = true,
            "type" => self.add_acts(&values, |act, wanted| is_code(&meaning::of(act).kind, wanted)),
            "subtype" => {
                self.add_acts(&values, |act, wanted| {
                    meaning::of(act).subtypes.iter().any(|code| is_code(code, wanted))
                });
            }
            "action" => {
                let values: Vec<String> = values.iter().map(|value| code_of(value).to_owned()).collect();
                self.add_acts(&values, |act, wanted| meaning::of(act).action.can_be(wanted));
                narrow(&mut self.actions, values);
            }
            "outcome" => {
                let outcome = |value: &String| Outcome::try_from(code_of(value).parse::<u8>().ok()?).ok();
                let outcomes = values.iter().map(outcome).collect::<Option<Vec<_>>>();
                narrow(&mut self.outcomes, outcomes.ok_or_else(|| wrong("not 0, 4, 8 or 12"))?);
            }
            _ => return Err(Misunderstood { unknown: true, ..wrong("this server does not search by that") }),
        }
        Ok(())
    }

    /// Records of this time or later, in milliseconds since 1970.
    pub fn since(&mut self, ms: u64) {
        self.from_ms = Some(self.from_ms.map_or(ms, |from_ms| from_ms.max(ms)));
    }

    fn before(&mut self, ms: u64) {
        self.before_ms = Some(self.before_ms.map_or(ms, |before_ms| before_ms.min(ms)));
    }

    fn add_date(&mut self, value: &str) -> Option<()> {
        let (prefix, date) = match value.get(..2) {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_lowercase()) => (prefix, value.get(2..)?),
            _ => ("eq", value),
        };
        let (begin_ms, end_ms) = range(date)?;
        match prefix {
            "eq" => {
                self.since(begin_ms);
                self.before(end_ms);
            }
            "ge" => self.since(begin_ms),
            "gt" | "sa" => self.since(end_ms),
            "le" => self.before(end_ms),
            "lt" | "eb" => self.before(begin_ms),
            _ => return None,
        }
        Some(())
    }

    fn add_acts(&mut self, values: &[String], is: impl Fn(Act, &str) -> bool) {
        let acts = Act::ALL.iter().copied().filter(|act| values.iter().any(|value| is(*act, value)));
        narrow(&mut self.acts, acts.collect());
    }

    /// Whether a record meets every condition.
    pub fn is_met_by(&self, record: &Record) -> bool {
        let is = |wanted: &[String], found: Option<&String>| found.is_some_and(|found| wanted.contains(found));
        let (who, on) = (&record.who, &record.on);
        let agent = |wanted: &Vec<String>| {
            [&who.user, &who.on_behalf_of, &who.subject, &who.device, &who.server, &who.service]
                .into_iter()
                .any(|found| is(wanted, found.as_ref()))
        };
        let entity = |wanted: &Vec<String>| {
            [&on.user, &on.room, &on.event, &on.last, &on.media, &on.device, &on.name, &record.request]
                .into_iter()
                .any(|found| is(wanted, found.as_ref()))
        };
        !self.nothing
            && self.acts.as_ref().is_none_or(|acts| acts.contains(&record.act))
            && self.outcomes.as_ref().is_none_or(|outcomes| outcomes.contains(&record.outcome))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && self.from_ms.is_none_or(|from_ms| record.at >= from_ms)
            && self.before_ms.is_none_or(|before_ms| record.at < before_ms)
            && self.actions.as_ref().is_none_or(|actions| {
                actions.iter().any(|action| action == meaning::of(record.act).action.letter(record))
            })
            && self.agents.iter().all(agent)
            && self.entities.iter().all(entity)
            && self.addresses.iter().all(|wanted| is(wanted, who.ip.as_ref()))
    }

    /// What the trail itself can be asked for: no less than what is meant.
    fn query(&self) -> Query {
        let mut query = Query { acts: self.acts.clone().unwrap_or_default(), ..Query::default() };
        (query.from_ms, query.before_ms) = (self.from_ms, self.before_ms);
        if let Some([outcome]) = self.outcomes.as_deref() {
            query.outcome = Some(*outcome);
        }
        for one in self.agents.iter().chain(&self.entities) {
            match &**one {
                [name] if name.starts_with('@') => query.user = Some(name.clone()),
                [name] if name.starts_with('!') => query.room = Some(name.clone()),
                _ => {}
            }
        }
        // An id says when the record was written.
        if let Some([id]) = self.ids.as_deref()
            && let Ok(id) = Ulid::from_string(id)
        {
            let at_ms = id.timestamp_ms();
            query.from_ms = Some(query.from_ms.map_or(at_ms, |from_ms| from_ms.max(at_ms)));
            let end_ms = at_ms.saturating_add(1);
            query.before_ms = Some(query.before_ms.map_or(end_ms, |before_ms| before_ms.min(end_ms)));
        }
        query
    }

    /// A page of what is meant, behind the record with a number.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub async fn find(
        &self,
        trail: &AuditLog,
        newest_first: bool,
        after: Option<u64>,
        count: usize,
    ) -> Result<Found, AuditError> {
        let (mut entries, mut looked_at) = (Vec::new(), 0_usize);
        // Nothing can be found by no act at all, which to the trail means any.
        if self.nothing || self.acts.as_ref().is_some_and(Vec::is_empty) || count == 0 {
            return Ok(Found { entries, next: None });
        }
        let mut query = Query { newest_first, after, ..self.query() };
        loop {
            query.limit = count.clamp(COUNT_DEFAULT, COUNT_MAX);
            let page = trail.search(&query).await?;
            let whole = page.len() < query.limit;
            looked_at = looked_at.saturating_add(page.len());
            for entry in page {
                query.after = Some(entry.number);
                if self.is_met_by(&entry.record) {
                    entries.push(entry);
                }
                if entries.len() == count {
                    return Ok(Found { entries, next: query.after });
                }
            }
            if whole {
                return Ok(Found { entries, next: None });
            }
            if looked_at >= LOOKED_AT_MAX {
                return Ok(Found { entries, next: query.after });
            }
        }
    }
}

/// Each condition leaves what the others left.
fn narrow<T: PartialEq>(all: &mut Option<Vec<T>>, only: Vec<T>) {
    match all {
        None => *all = Some(only),
        Some(all) => all.retain(|one| only.contains(one)),
    }
}

/// The names that values of references mean: ids of Matrix, or others as they are.
fn names(values: Vec<String>) -> Vec<String> {
    values
        .into_iter()
        .map(|value| matrix_uri::id(code_of(&value)).unwrap_or_else(|| code_of(&value).to_owned()))
        .collect()
}

/// The code in `system|code`.
fn code_of(token: &str) -> &str {
    token.rsplit_once('|').map_or(token, |(_, code)| code)
}

fn is_code(code: &Code, token: &str) -> bool {
    match token.rsplit_once('|') {
        None => code.code == token,
        Some((system, wanted)) => code.system == system && (wanted.is_empty() || code.code == wanted),
    }
}

/// From when to when a date is, in milliseconds since 1970, the end not included: a second is as long as one.
fn range(date: &str) -> Option<(u64, u64)> {
    let (begin, end) = (dates::begin(date)?, dates::end(date)?);
    let long = if date.contains('.') { 1 } else { 1_000 };
    let end = if end == begin { begin.checked_add(long)? } else { end };
    Some((u64::try_from(begin).unwrap_or(0), u64::try_from(end).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wardroom_audit::{Act, AuditLog, AuditSettings, Origin, Outcome, Record, TABLES};
    use wardroom_clock::ManualClock;
    use wardroom_store::{Catalogue, Store};

    use super::{Selection, range};

    /// 2023-11-14T22:13:20.123Z.
    const AT_MS: u64 = 1_700_000_000_123;

    fn selection(parameters: &[(&str, &str)]) -> Selection {
        let mut selection = Selection::default();
        for (name, value) in parameters {
            selection.add(name, value).unwrap();
        }
        selection
    }

    fn record() -> Record {
        let mut origin = Origin::default();
        origin.who.user = Some("@alice:a.example".to_owned());
        origin.who.device = Some("PHONE".to_owned());
        origin.who.ip = Some("192.0.2.1".to_owned());
        let record = Record::by(Act::RoomRead, origin).room("!r:a.example").event("$e");
        Record { at: AT_MS, id: "01HF7YAT3VAAAAAAAAAAAAAAAA".to_owned(), ..record }
    }

    #[test]
    fn conditions_are_met_or_not() {
        let met = |parameters: &[(&str, &str)]| selection(parameters).is_met_by(&record());
        for yes in [
            ("agent", "@alice:a.example"),
            ("agent", "matrix:u/alice:a.example"),
            ("agent.identifier", "urn:ietf:rfc:3986|matrix:u/alice:a.example"),
            ("agent", "@bob:a.example,PHONE"),
            ("entity", "matrix:roomid/r:a.example"),
            ("entity", "matrix:roomid/r:a.example/e/e"),
            ("address", "192.0.2.1"),
            ("type", "rest"),
            ("type", "http://terminology.hl7.org/CodeSystem/audit-event-type|rest"),
            ("subtype", "http://hl7.org/fhir/restful-interaction|read"),
            ("action", "R"),
            ("action", "http://hl7.org/fhir/audit-event-action|R"),
            ("outcome", "0,4"),
            ("_id", "01HF7YAT3VAAAAAAAAAAAAAAAA"),
            ("date", "2023-11-14"),
            ("date", "ge2023-11-14T22:13:20.123Z"),
            ("date", "le2023-11-14T22:13:20Z"),
            ("date", "lt2024"),
        ] {
            assert!(met(&[yes]), "{yes:?}");
        }
        for no in [
            ("agent", "@bob:a.example"),
            ("agent", "!r:a.example"),
            ("entity", "@alice:a.example"),
            ("type", "110100"),
            ("type", "other|rest"),
            ("subtype", "search"),
            ("action", "E"),
            ("outcome", "8"),
            ("_id", "x"),
            ("patient", "Patient/1"),
            ("address", "192.0.2.2"),
            ("date", "gt2023-11-14"),
            ("date", "lt2023-11-14T22:13:20.123Z"),
            ("date", "gt2023-11-14T22:13:20.123Z"),
        ] {
            assert!(!met(&[no]), "{no:?}");
        }
        assert!(met(&[("type", "rest"), ("outcome", "0"), ("action", "R"), ("agent", "PHONE")]));
        assert!(!met(&[("type", "rest"), ("type", "110100")]), "each narrows");
        assert!(!met(&[("outcome", "0"), ("outcome", "8")]), "each narrows");
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let wrong = |name: &str, value: &str| Selection::default().add(name, value).unwrap_err();
        for (name, value) in
            [("date", "soon"), ("date", "ap2023"), ("outcome", "1"), ("agent", ""), ("date", "2023-13-41")]
        {
            assert!(!wrong(name, value).unknown, "{name}");
            assert_eq!(wrong(name, value).name, name);
        }
        assert!(wrong("color", "red").unknown);
        assert!(!wrong("agent", &"a,".repeat(300)).unknown);
    }

    #[tokio::test]
    async fn pages_lead_through_everything_that_is_meant() {
        let clock = Arc::new(ManualClock::new(AT_MS));
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let trail = AuditLog::open(store, clock.clone(), AuditSettings::default()).await.unwrap();
        for number in 0..50_u64 {
            let act = if number % 2 == 0 { Act::Login } else { Act::Logout };
            let outcome = if number % 5 == 0 { Outcome::Minor } else { Outcome::Success };
            trail.write(Record::of(act).outcome(outcome).count(number)).await.unwrap();
            clock.advance_ms(1_000);
        }
        let selection = selection(&[("subtype", "110122"), ("outcome", "4,8")]);
        for newest_first in [false, true] {
            let (mut counts, mut after) = (Vec::new(), None);
            loop {
                let found = selection.find(&trail, newest_first, after, 2).await.unwrap();
                assert!(found.entries.len() <= 2);
                counts.extend(found.entries.iter().map(|entry| entry.record.on.count.unwrap()));
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            let mut expected: Vec<u64> = (0..50).step_by(10).collect();
            if newest_first {
                expected.reverse();
            }
            assert_eq!(counts, expected);
        }
        let one = trail.entries(7, 1).await.unwrap().remove(0);
        let by_id = Selection { ids: Some(vec![one.record.id.clone()]), ..Selection::default() };
        let found = by_id.find(&trail, true, None, 10).await.unwrap();
        assert_eq!(found.entries, [one]);
        let nothing = selection_of_nothing().find(&trail, false, None, 10).await.unwrap();
        assert!(nothing.entries.is_empty() && nothing.next.is_none());
    }

    fn selection_of_nothing() -> Selection {
        selection(&[("type", "no such type")])
    }

    #[test]
    fn times_are_as_long_as_they_are_said() {
        assert_eq!(range("2023-11-14T22:13:20.123Z"), Some((AT_MS, AT_MS + 1)));
        assert_eq!(range("2023-11-14T22:13:20Z"), Some((1_700_000_000_000, 1_700_000_001_000)));
        assert_eq!(range("1960"), Some((0, 0)));
    }

    proptest! {
        #[test]
        fn any_parameter_is_read(name in "[a-z_.:]{0,12}|date|agent|outcome|type", value in ".{0,40}") {
            let mut selection = Selection::default();
            if selection.add(&name, &value).is_ok() {
                selection.is_met_by(&record());
                selection.query();
            }
        }
    }
}
