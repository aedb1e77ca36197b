//! `$export` and what follows from it (FHIR Bulk Data Access, system level export; asynchronous as FHIR R5 "Bulk Data Request").

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, EXPIRES, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope;
use wardroom_atna::{EXPORT_LIFE_MS, ExportRequest, Selection};
use wardroom_audit::{Act, Record};
use wardroom_clock::{dates, timestamp};
use wardroom_web::to_the_end;

use crate::{
    FhirState,
    asked::{Asked, parameters, read},
    files,
    outcome::{FHIR_JSON, Refusal, operation_outcome},
};

/// When to look again whether an export is complete, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// The only type of resources here.
const RESOURCE: &str = "AuditEvent";

/// `GET /$export`.
pub(crate) async fn begin(State(state): State<FhirState>, request: Request) -> Response {
    to_the_end(async move { begin_of_url(&state, request).await.unwrap_or_else(Refusal::into_response) }).await
}

async fn begin_of_url(state: &FhirState, request: Request) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(state, request, AdminScope::AuditExport).await?;
    started(state, &asked, asked.parameters()).await
}

/// `POST /$export` with a `Parameters` resource.
pub(crate) async fn begin_by_post(State(state): State<FhirState>, request: Request) -> Response {
    to_the_end(async move { begin_of_body(&state, request).await.unwrap_or_else(Refusal::into_response) }).await
}

async fn begin_of_body(state: &FhirState, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Parameters {
        #[serde(rename = "resourceType")]
        resource_type: String,
        #[serde(default)]
        parameter: Vec<serde_json::Map<String, Value>>,
    }
    let (asked, body) = Asked::of(state, request, AdminScope::AuditExport).await?;
    let body = read(body).await?;
    let mut given = asked.parameters();
    if asked.has_form() {
        given.extend(parameters(&body));
    } else if !body.is_empty() {
        let wrong = || Refusal::invalid("The body is no Parameters resource.");
        let resource: Parameters = serde_json::from_slice(&body).map_err(|_| wrong())?;
        if resource.resource_type != "Parameters" {
            return Err(wrong());
        }
        for parameter in resource.parameter {
            let name = parameter.get("name").and_then(Value::as_str).ok_or_else(wrong)?;
            let value =
                parameter.iter().find(|(key, _)| key.starts_with("value")).and_then(|(_, value)| value.as_str());
            let value = value.ok_or_else(|| Refusal::invalid(format!("{name}: has no value that is text")))?;
            given.push((name.to_owned(), value.to_owned()));
        }
    }
    started(state, &asked, given).await
}

async fn started(state: &FhirState, asked: &Asked, given: Vec<(String, String)>) -> Result<Response, Refusal> {
    asked.takes_json(None)?;
    if !asked.prefers("respond-async") {
        let sentence = "Prefer: an export is made in the background; say respond-async.";
        return Err(Refusal::new(400, "not-supported", sentence));
    }
    let wanted = Wanted::read(&given, asked.prefers("handling=lenient"))?;
    let shown = given.iter().filter(|(name, _)| name != "access_token");
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(shown).finish();
    let mut request = format!("{}/$export", state.base_url);
    if !query.is_empty() {
        request = format!("{request}?{query}");
    }
    let owner = asked.session.user.to_string();
    let export = ExportRequest { owner, request, any_of: wanted.any_of, since_ms: wanted.since_ms };
    let id = state.exports.begin(export).await?;
    state.audit.write(Record::of(Act::AuditExport).detail("$export").name(&*id).query(query)).await?;
    let place = format!("{}/exports/{id}", state.base_url);
    let body = operation_outcome("information", "informational", "The export has begun.");
    let headers = [(CONTENT_TYPE, FHIR_JSON), (CONTENT_LOCATION, header(&place))];
    Ok((StatusCode::ACCEPTED, headers, body.to_string()).into_response())
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// What an export is of.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    any_of: Vec<Vec<(String, String)>>,
    since_ms: Option<u64>,
}

impl Wanted {
    fn read(given: &[(String, String)], lenient: bool) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        for (name, value) in given {
            match &**name {
                "_type" => {
                    let mut types = value.split(',').filter(|name| !name.is_empty());
                    let ours = value.split(',').any(|name| name == RESOURCE);
                    if !ours || (!lenient && types.any(|name| name != RESOURCE)) {
                        return Err(Refusal::new(400, "not-supported", "_type: there is nothing but AuditEvent here."));
                    }
                }
                "_since" => {
                    let ms = dates::begin(value).and_then(|ms| u64::try_from(ms.max(0)).ok());
                    wanted.since_ms = Some(ms.ok_or_else(|| Refusal::invalid("_since: not an instant"))?);
                }
                // A "+" of a query that was not written as %2B is a space.
                "_outputFormat" => {
                    let known = ["application/fhir+ndjson", "application/ndjson", "ndjson"];
                    if !known.contains(&&*value.replace(' ', "+")) {
                        let sentence = "_outputFormat: this server exports application/fhir+ndjson only.";
                        return Err(Refusal::new(400, "not-supported", sentence));
                    }
                }
                "_typeFilter" => {
                    for filter in value.split(",AuditEvent?") {
                        let conditions = filter.strip_prefix("AuditEvent?").unwrap_or(filter);
                        let conditions = parameters(conditions.as_bytes());
                        let mut selection = Selection::default();
                        conditions.iter().try_for_each(|(name, value)| selection.add(name, value))?;
                        wanted.any_of.push(conditions);
                    }
                }
                "access_token" => {}
                _ if lenient => {}
                _ => return Err(Refusal::new(400, "not-supported", format!("{name}: this server does not know that"))),
            }
        }
        Ok(wanted)
    }
}

/// `GET` of the place where an export's state is.
pub(crate) async fn status(
    State(state): State<FhirState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(&state, request, AdminScope::AuditExport).await?;
    asked.takes_json(None)?;
    let status = state.exports.status(asked.session.user.as_str(), &id).await?.ok_or_else(no_such_export)?;
    if !status.is_complete() {
        let progress = header(&format!("{} of {} records", status.done, status.of));
        let headers = [(RETRY_AFTER, RETRY_SECONDS), (http::HeaderName::from_static("x-progress"), progress)];
        return Ok((StatusCode::ACCEPTED, headers).into_response());
    }
    let output = status.files.iter().enumerate().map(|(index, file)| {
        let url = format!("{}/exports/{id}/{index}.ndjson", state.base_url);
        json!({ "type": RESOURCE, "url": url, "count": file.count })
    });
    let manifest = json!({
        "transactionTime": timestamp::format(status.begun_ms),
        "request": status.request,
        "requiresAccessToken": true,
        "output": output.collect::<Vec<_>>(),
        // Releases of the specification name this differently.
        "outcome": [],
        "error": [],
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (EXPIRES, header(&http_date(status.begun_ms.saturating_add(EXPORT_LIFE_MS)))),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, manifest.to_string()).into_response())
}

/// `DELETE` of an export.
pub(crate) async fn delete(
    State(state): State<FhirState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(&state, request, AdminScope::AuditExport).await?;
    if !state.exports.delete(asked.session.user.as_str(), &id).await? {
        return Err(no_such_export());
    }
    let body = operation_outcome("information", "informational", "The export is deleted.");
    Ok((StatusCode::ACCEPTED, [(CONTENT_TYPE, FHIR_JSON)], body.to_string()).into_response())
}

/// A file of an export.
pub(crate) async fn file(
    State(state): State<FhirState>,
    Path((id, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (asked, _) = Asked::of(&state, request, AdminScope::AuditExport).await?;
    let index = file.strip_suffix(".ndjson").and_then(|index| index.parse().ok()).ok_or_else(no_such_export)?;
    let read = state.exports.read(asked.session.user.as_str(), &id, index).await?;
    let (range, reader) = read.ok_or_else(no_such_export)?;
    let record = Record::of(Act::AuditExport).detail("$export").name(format!("{id}/{file}")).count(range.count);
    state.audit.write(record).await?;
    Ok(files::answer(reader, state.server_name.clone(), asked.takes_gzip()))
}

fn no_such_export() -> Refusal {
    Refusal::not_found("You have no such export.")
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = timestamp::format(ms);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let day = usize::try_from(ms / 86_400_000 % 7).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"");
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&"");
    format!("{day}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use super::{Wanted, http_date};

    fn read(given: &[(&str, &str)], lenient: bool) -> Option<Wanted> {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wanted::read(&given, lenient).ok()
    }

    #[test]
    fn what_is_wanted_is_read() {
        let wanted = read(&[("_type", "AuditEvent"), ("_since", "2023-11-14T22:13:20Z")], false).unwrap();
        assert_eq!(wanted, Wanted { any_of: Vec::new(), since_ms: Some(1_700_000_000_000) });
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two = vec![vec![pair("type", "rest"), pair("outcome", "0,4")], vec![pair("action", "R")]];
        let given = [("_typeFilter", "AuditEvent?type=rest&outcome=0,4,AuditEvent?action=R")];
        assert_eq!(read(&given, false).unwrap().any_of, two);
        let given = [("_typeFilter", "AuditEvent?type=rest&outcome=0,4"), ("_typeFilter", "AuditEvent?action=R")];
        assert_eq!(read(&given, false).unwrap().any_of, two);
        assert!(read(&[("_outputFormat", "application/fhir ndjson")], false).is_some());
        for wrong in [
            ("_type", "Patient"),
            ("_since", "yesterday"),
            ("_outputFormat", "parquet"),
            ("_typeFilter", "AuditEvent?color=red"),
            ("_typeFilter", "Patient?active=true"),
        ] {
            assert!(read(&[wrong], true).is_none(), "{wrong:?}");
        }
        for passed_over in [("_type", "Patient,AuditEvent"), ("_elements", "id")] {
            assert!(read(&[passed_over], false).is_none() && read(&[passed_over], true).is_some(), "{passed_over:?}");
        }
    }

    #[test]
    fn times_are_written_as_http_wants_them() {
        assert_eq!(http_date(1_700_000_000_000), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
