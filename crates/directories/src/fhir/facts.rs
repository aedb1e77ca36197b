//! What a directory says of practitioners and their roles, and the list that comes of it.

use std::collections::{BTreeSet, HashMap};

use ruma::ServerName;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use wardroom_care::Role;
use wardroom_clock::{dates, timestamp};

use super::FhirSettings;
use crate::{
    Fault,
    list::{Given, List, ListMaker, Listed},
};

/// Roles that one resource gives at most: codes, times units.
const ROLES_PER_RESOURCE_MAX: usize = 200;

#[derive(Deserialize)]
struct Meta {
    #[serde(default, rename = "lastUpdated")]
    last_updated: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(default)]
    system: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Practitioner {
    id: String,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    identifier: Vec<Identifier>,
    #[serde(default)]
    active: Option<bool>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    identifier: Option<Identifier>,
}

#[derive(Deserialize)]
struct Concept {
    #[serde(default)]
    coding: Vec<Coding>,
}

#[derive(Deserialize)]
struct Coding {
    #[serde(default)]
    system: String,
    #[serde(default)]
    code: String,
}

#[derive(Default, Deserialize)]
struct Period {
    #[serde(default)]
    start: Option<String>,
    #[serde(default)]
    end: Option<String>,
}

#[derive(Deserialize)]
struct PractitionerRole {
    id: String,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    period: Period,
    #[serde(default)]
    practitioner: Option<Reference>,
    #[serde(default)]
    organization: Option<Reference>,
    #[serde(default)]
    code: Vec<Concept>,
    #[serde(default)]
    specialty: Vec<Concept>,
    #[serde(default)]
    location: Vec<Reference>,
}

/// Somebody, as far as it matters.
#[derive(Debug)]
struct Person {
    /// The identifier that their user id is made from, if they have exactly one.
    name: Option<String>,
    active: Option<bool>,
}

/// Whose a role is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// A practitioner of this id.
    Resource(String),
    /// Whoever has this identifier.
    Name(String),
}

/// What a directory says.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    people: HashMap<String, Person>,
    roles: HashMap<String, (Holder, Vec<Given>)>,
    newest_ms: Option<i64>,
}

impl Facts {
    /// When the newest of what is known changed.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.newest_ms
    }

    /// Takes back that anything newer than this is known: some of it was not read.
    pub(crate) fn forget_after(&mut self, newest_ms: i64) {
        self.newest_ms = Some(newest_ms);
    }

    /// Whether there are roles, and nobody who has them.
    pub(crate) fn has_roles_of_nobody(&self) -> bool {
        let anybody = |(holder, _): &(Holder, _)| match holder {
            Holder::Resource(id) => self.people.contains_key(id),
            Holder::Name(_) => true,
        };
        !self.roles.is_empty() && !self.roles.values().any(anybody)
    }

    /// Takes a resource in.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub(crate) fn learn(&mut self, resource: Value, settings: &FhirSettings) -> Result<(), Fault> {
        match resource["resourceType"].as_str() {
            Some("Practitioner") => {
                let practitioner: Practitioner = read(resource, "a practitioner that is none")?;
                self.note_time(practitioner.meta);
                let ours = |identifier: &&Identifier| identifier.system == settings.identifier_system;
                let mut names = practitioner.identifier.iter().filter(ours).map(|identifier| &identifier.value);
                // Of several names none is the right one.
                let name = names.next().filter(|name| !name.is_empty() && names.next().is_none()).cloned();
                self.people.insert(practitioner.id, Person { name, active: practitioner.active });
            }
            Some("PractitionerRole") => {
                let mut role: PractitionerRole = read(resource, "a role that is none")?;
                self.note_time(role.meta.take());
                let id = role.id.clone();
                match role.practitioner.take().and_then(|reference| holder(reference, settings)) {
                    Some(holder) => drop(self.roles.insert(id, (holder, given(&role, settings)))),
                    None => drop(self.roles.remove(&id)),
                }
            }
            // What a directory includes besides is not asked for.
            Some(_) => {}
            None => return Err(Fault::Malformed("a resource without a type")),
        }
        Ok(())
    }

    fn note_time(&mut self, meta: Option<Meta>) {
        let time = meta.and_then(|meta| timestamp::parse(&meta.last_updated?));
        self.newest_ms = self.newest_ms.max(time);
    }

    /// Everybody of whom there is a role, be it in force or not.
    pub(crate) fn list(&self, settings: &FhirSettings, server_name: &ServerName) -> List {
        let mut of: HashMap<&Holder, Vec<Given>> = HashMap::new();
        for (holder, roles) in self.roles.values() {
            of.entry(holder).or_default().extend(roles.iter().cloned());
        }
        let mut maker = ListMaker::new(server_name.to_owned(), false);
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for (id, person) in &self.people {
            let by_name = person.name.clone().and_then(|name| of.get_key_value(&Holder::Name(name)));
            let by_id = of.get_key_value(&Holder::Resource(id.clone()));
            if by_name.is_none() && by_id.is_none() {
                continue;
            }
            named.extend(person.name.as_deref());
            let roles = by_id.into_iter().chain(by_name).flat_map(|(_, roles)| roles.clone()).collect();
            maker.add(person.name.as_deref(), listed(person.active, roles));
        }
        for (holder, roles) in of {
            match holder {
                Holder::Name(name) if !named.contains(name.as_str()) => maker.add(Some(name), listed(None, roles)),
                Holder::Resource(id) if !self.people.contains_key(id) => maker.add(None, Listed::default()),
                _ => {}
            }
        }
        let mut list = maker.finish();
        for listed in list.people.values_mut() {
            for given in &mut listed.roles {
                given.reason = format!("of the directory: {}", settings.name);
            }
        }
        list
    }
}

fn read<T: DeserializeOwned>(resource: Value, otherwise: &'static str) -> Result<T, Fault> {
    serde_json::from_value(resource).map_err(|_| Fault::Malformed(otherwise))
}

fn listed(active: Option<bool>, mut roles: Vec<Given>) -> Listed {
    if active == Some(false) {
        roles.clear();
    }
    roles.sort_by(|a, b| (&a.role, a.from_ms, a.until_ms).cmp(&(&b.role, b.from_ms, b.until_ms)));
    roles.dedup();
    Listed { active, roles }
}

fn holder(reference: Reference, settings: &FhirSettings) -> Option<Holder> {
    if let Some(reference) = &reference.reference {
        let local = local(reference, settings);
        return local.strip_prefix("Practitioner/").map(|id| Holder::Resource(id.to_owned()));
    }
    let identifier = reference.identifier?;
    let ours = identifier.system == settings.identifier_system && !identifier.value.is_empty();
    ours.then_some(Holder::Name(identifier.value))
}

/// A reference as `Type/id`.
fn local<'a>(reference: &'a str, settings: &FhirSettings) -> &'a str {
    let reference = reference.strip_prefix(settings.base_url.as_str()).unwrap_or(reference);
    reference.split("/_history/").next().unwrap_or(reference)
}

/// The roles that a resource gives while it is in force.
fn given(role: &PractitionerRole, settings: &FhirSettings) -> Vec<Given> {
    if role.active == Some(false) {
        return Vec::new();
    }
    let Some((from_ms, until_ms)) = period(&role.period) else { return Vec::new() };
    let organization =
        role.organization.as_ref().and_then(|reference| named(&settings.organizations, reference, settings));
    let Some(organization) = organization.or(settings.default_organization.as_ref()) else { return Vec::new() };
    let codings = role.code.iter().flat_map(|concept| &concept.coding);
    let codes: BTreeSet<&str> = codings.filter_map(|coding| code(coding, settings)).collect();
    let places = role.location.iter().filter_map(|location| named(&settings.units, location, settings));
    let specialties = role.specialty.iter().flat_map(|concept| &concept.coding);
    let specialties = specialties.filter_map(|coding| settings.units.get(&token(&coding.system, &coding.code)));
    let units: BTreeSet<&String> = places.chain(specialties).collect();
    let mut names = Vec::new();
    for code in codes {
        match units.is_empty() {
            true => names.push(format!("{code}@{organization}")),
            false => names.extend(units.iter().map(|unit| format!("{code}@{organization}/{unit}"))),
        }
    }
    let role = |name: String| {
        let role = Role::parse(&name).ok()?;
        Some(Given { role, from_ms, until_ms, reason: String::new() })
    };
    names.into_iter().filter_map(role).take(ROLES_PER_RESOURCE_MAX).collect()
}

/// From when until when; none where it is never, or where nobody can say.
fn period(period: &Period) -> Option<(Option<u64>, Option<u64>)> {
    let moment = |ms: Option<i64>| ms.map(|ms| u64::try_from(ms).unwrap_or(0));
    let from = period.start.as_deref().map(dates::begin);
    let until = period.end.as_deref().map(dates::end);
    if from == Some(None) || until == Some(None) {
        return None;
    }
    let (from_ms, until_ms) = (moment(from.flatten()), moment(until.flatten()));
    let never = until_ms == Some(0) || matches!((from_ms, until_ms), (Some(from), Some(until)) if from >= until);
    (!never).then_some((from_ms, until_ms))
}

fn code<'a>(coding: &'a Coding, settings: &'a FhirSettings) -> Option<&'a str> {
    let mapped = settings.codes.get(&token(&coding.system, &coding.code)).map(String::as_str);
    let ours = || settings.code_systems.contains(&coding.system).then_some(coding.code.as_str());
    mapped.or_else(ours)
}

/// What a map has for a resource, by its place or by its identifier.
fn named<'a>(map: &'a HashMap<String, String>, reference: &Reference, settings: &FhirSettings) -> Option<&'a String> {
    let by_place = reference.reference.as_deref().and_then(|reference| map.get(local(reference, settings)));
    let identifier = reference.identifier.as_ref();
    by_place.or_else(|| identifier.and_then(|identifier| map.get(&token(&identifier.system, &identifier.value))))
}

fn token(system: &str, value: &str) -> String {
    format!("{system}|{value}")
}

#[cfg(test)]
mod tests;
