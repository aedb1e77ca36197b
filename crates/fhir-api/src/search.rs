//! `AuditEvent`: searches (IHE ITI-81) and reads.

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
};
use http::header::CONTENT_TYPE;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use wardroom_accounts::AdminScope;
use wardroom_atna::{AuditEvent, COUNT_DEFAULT, COUNT_MAX, Selection};
use wardroom_audit::{Act, Entry, Record};

use crate::{
    FhirState,
    asked::{Asked, parameters, read as read_body},
    outcome::{FHIR_JSON, Refusal},
};

/// Behind which record a page begins: in links to further pages.
const AFTER: &str = "_after";

/// What a search says besides which records it means.
#[derive(Debug)]
struct Search {
    selection: Selection,
    newest_first: bool,
    after: Option<u64>,
    count: usize,
    /// What of it goes into links.
    kept: Vec<(String, String)>,
}

/// `GET /AuditEvent`.
pub(crate) async fn search(State(state): State<FhirState>, request: Request) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(&state, request, AdminScope::Audit).await?;
    let parameters = asked.parameters();
    answer(&state, &asked, parameters).await
}

/// `POST /AuditEvent/_search`.
pub(crate) async fn search_by_post(State(state): State<FhirState>, request: Request) -> Result<Response, Refusal> {
    let (asked, body) = Asked::of(&state, request, AdminScope::Audit).await?;
    let mut all = asked.parameters();
    all.extend(parameters(&read_body(body).await?));
    answer(&state, &asked, all).await
}

async fn answer(state: &FhirState, asked: &Asked, parameters: Vec<(String, String)>) -> Result<Response, Refusal> {
    let format = parameters.iter().find(|(name, _)| name == "_format").map(|(_, value)| value.as_str());
    asked.takes_json(format)?;
    let search = Search::read(parameters, asked.prefers("handling=lenient"))?;
    let Search { selection, newest_first, after, count, kept } = search;
    let found = selection.find(&state.audit, newest_first, after, count).await?;
    let query = written(kept.iter().map(|(name, value)| (&**name, &**value)));
    let record = Record::of(Act::AuditRead).detail("AuditEvent").query(&*query).count(found.entries.len() as u64);
    state.audit.write(record).await?;
    let base = format!("{}/AuditEvent", state.base_url);
    let next = found.next.map(|after| {
        let others = kept.iter().filter(|(name, _)| name != AFTER).map(|(name, value)| (&**name, &**value));
        format!("{base}?{}", written(others.chain([(AFTER, &*after.to_string())])))
    });
    let bundle = Bundle { state, entries: &found.entries, self_url: format!("{base}?{query}"), next };
    // Maps with text as keys, and no numbers: writing them does not fail.
    let body = serde_json::to_string(&bundle).unwrap_or_default();
    Ok(([(CONTENT_TYPE, FHIR_JSON)], body).into_response())
}

/// `GET /AuditEvent/{id}`.
pub(crate) async fn read(
    State(state): State<FhirState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(&state, request, AdminScope::Audit).await?;
    let format = asked.parameters().into_iter().find(|(name, _)| name == "_format").map(|(_, value)| value);
    asked.takes_json(format.as_deref())?;
    let mut selection = Selection::default();
    // An id with a comma would be several.
    let found = match selection.add("_id", &id) {
        Ok(()) if !id.contains(',') => selection.find(&state.audit, true, None, 1).await?.entries,
        _ => Vec::new(),
    };
    let Some(entry) = found.first() else {
        return Err(Refusal::not_found("There is no such record."));
    };
    state.audit.write(Record::of(Act::AuditRead).detail("AuditEvent").name(&*id).count(1)).await?;
    let body = AuditEvent::of(&entry.record, &state.server_name).to_json();
    Ok(([(CONTENT_TYPE, FHIR_JSON)], body).into_response())
}

impl Search {
    fn read(parameters: Vec<(String, String)>, lenient: bool) -> Result<Self, Refusal> {
        let mut search = Self {
            selection: Selection::default(),
            newest_first: true,
            after: None,
            count: COUNT_DEFAULT,
            kept: Vec::new(),
        };
        for (name, value) in parameters {
            let number =
                || value.parse::<u64>().map_err(|_| Refusal::invalid(format!("{name}: not a number from 0 on")));
            match &*name {
                "_count" => search.count = usize::try_from(number()?).unwrap_or(COUNT_MAX).min(COUNT_MAX),
                AFTER => search.after = Some(number()?),
                "_sort" => {
                    search.newest_first = match &*value {
                        "date" => false,
                        "-date" => true,
                        _ => return Err(Refusal::invalid("_sort: neither date nor -date")),
                    }
                }
                // Looked at already; the token of old clients, which belongs into no link.
                "_format" | "access_token" => continue,
                _ => match search.selection.add(&name, &value) {
                    Err(error) if error.unknown && lenient => continue,
                    added => added?,
                },
            }
            search.kept.push((name, value));
        }
        Ok(search)
    }
}

fn written<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// A `Bundle` of type `searchset`.
struct Bundle<'a> {
    state: &'a FhirState,
    entries: &'a [Entry],
    self_url: String,
    next: Option<String>,
}

/// An entry of it.
struct Hit<'a>(&'a FhirState, &'a Entry);

impl Serialize for Bundle<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Link<'a> {
            relation: &'static str,
            url: &'a str,
        }
        let mut links = vec![Link { relation: "self", url: &self.self_url }];
        links.extend(self.next.as_deref().map(|url| Link { relation: "next", url }));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resourceType", "Bundle")?;
        map.serialize_entry("type", "searchset")?;
        map.serialize_entry("link", &links)?;
        // An empty list is no FHIR.
        if !self.entries.is_empty() {
            let hits: Vec<Hit<'_>> = self.entries.iter().map(|entry| Hit(self.state, entry)).collect();
            map.serialize_entry("entry", &hits)?;
        }
        map.end()
    }
}

impl Serialize for Hit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Mode {
            mode: &'static str,
        }
        let Self(state, entry) = self;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("fullUrl", &format!("{}/AuditEvent/{}", state.base_url, entry.record.id))?;
        map.serialize_entry("resource", &AuditEvent::of(&entry.record, &state.server_name))?;
        map.serialize_entry("search", &Mode { mode: "match" })?;
        map.end()
    }
}
