//! `GET /_wardroom/admin/v1/audit/export`: the audit trail as a file for people, CSV or lines of JSON.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
};
use wardroom_accounts::AdminScope::AuditExport;
use wardroom_audit::{Act, AuditError, AuditLog, ENTRIES_MAX, Entry, Query, Record};
use wardroom_clock::timestamp;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    csv::cell,
    endpoint::{Asked, Endpoints},
    error,
};

const EXPORT: &str = "/_wardroom/admin/v1/audit/export";

/// The columns of the table.
const COLUMNS: &str = "number,id,time,act,outcome,why,user,as,subject,device,ip,server,service,request,room,event,last,type,\
                       count,on_user,on_device,media,name,detail,query,old,new,servers\r\n";

/// What administrators take out of the trail.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        EXPORT,
        AuditExport,
        "Gives audit records as a file (`format` `csv` or `ndjson`), the oldest first, by `user_id`, `room_id`, `act`, `from_ts` and \
         `to_ts` (milliseconds).",
        export,
    )
}

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

async fn export(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let format = match asked.get("format") {
        Some("csv") => Format::Csv,
        Some("ndjson") => Format::Ndjson,
        None => return Err(ApiError::missing_param("format: csv or ndjson.")),
        Some(_) => return Err(ApiError::invalid_param("format: neither csv nor ndjson.")),
    };
    let act = |word: &str| {
        let unknown = || ApiError::invalid_param(format!("act: there is no act called {word}"));
        Act::of_word(word).ok_or_else(unknown)
    };
    let query = Query {
        user: asked.text("user_id"),
        room: asked.text("room_id"),
        acts: asked.all("act").map(act).collect::<Result<_, _>>()?,
        from_ms: asked.number("from_ts")?,
        before_ms: asked.number("to_ts")?,
        limit: ENTRIES_MAX,
        ..Query::default()
    };
    // What is written from here on, this record first, is not in the file.
    let end = state.audit.catch_up().await.map_err(error::of_audit)?;
    let record = Record::of(Act::AuditExport).detail("export").query(asked.query_string());
    state.audit.write(record).await.map_err(error::of_audit)?;
    Ok(answer(File { trail: state.audit, query, end, format, state: State::Head }))
}

/// How far a file was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Records,
    End,
}

/// A file that is being sent.
struct File {
    trail: AuditLog,
    query: Query,
    /// Behind the last record of the file.
    end: u64,
    format: Format,
    state: State,
}

/// A failure in the middle breaks the answer off.
fn answer(file: File) -> Response {
    let (media_type, disposition) = match file.format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit.ndjson\""),
    };
    let chunks = stream::try_unfold(file, |mut file| async move {
        let chunk = file.next().await?;
        Ok::<_, AuditError>(chunk.map(|chunk| (chunk, file)))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl File {
    async fn next(&mut self) -> Result<Option<Bytes>, AuditError> {
        if self.state == State::Head {
            self.state = State::Records;
            if self.format == Format::Csv {
                return Ok(Some(Bytes::from_static(COLUMNS.as_bytes())));
            }
        }
        if self.state == State::End {
            return Ok(None);
        }
        let page = self.trail.search(&self.query).await?;
        let last = page.last().map(|entry| entry.number);
        if page.len() < ENTRIES_MAX || last.is_some_and(|last| last >= self.end) {
            self.state = State::End;
        }
        self.query.after = last.or(self.query.after);
        let mut text = String::new();
        for entry in page.iter().filter(|entry| entry.number < self.end) {
            match self.format {
                Format::Csv => row(&mut text, entry),
                Format::Ndjson => line(&mut text, entry),
            }
        }
        Ok(Some(text.into()))
    }
}

fn line(text: &mut String, entry: &Entry) {
    let Entry { number, record } = entry;
    text.push_str(&serde_json::json!({ "number": number, "record": record }).to_string());
    text.push('\n');
}

fn row(text: &mut String, entry: &Entry) {
    let Record { act, at, id, on, outcome, request, who, why } = &entry.record;
    let (number, outcome) = (entry.number.to_string(), u8::from(*outcome).to_string());
    let (time, servers) = (timestamp::format(*at), on.servers.join(" "));
    let count = on.count.map(|count| count.to_string());
    let given = [
        &who.user,
        &who.on_behalf_of,
        &who.subject,
        &who.device,
        &who.ip,
        &who.server,
        &who.service,
        request,
        &on.room,
        &on.event,
        &on.last,
        &on.kind,
        &count,
        &on.user,
        &on.device,
        &on.media,
        &on.name,
        &on.detail,
        &on.query,
        &on.old,
        &on.new,
    ];
    let mut cells =
        vec![number, cell(id), cell(&time), cell(act.word()), outcome, cell(why.as_deref().unwrap_or_default())];
    cells.extend(given.into_iter().map(|value| cell(value.as_deref().unwrap_or_default())));
    cells.push(cell(&servers));
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use wardroom_audit::{Act, Entry, Origin, Record};

    use super::{COLUMNS, line, row};

    #[test]
    fn a_row_has_every_column_and_no_formula() {
        let mut origin = Origin::default();
        origin.who.user = Some("@alice:a.example".to_owned());
        let record = Record::by(Act::Search, origin).query("=cmd|' /C calc'!A0").detail("-1").name("+1").count(2);
        let entry = Entry { number: 7, record: record.why("a \"b\",\r\nc") };
        let mut text = String::new();
        row(&mut text, &entry);
        assert!(
            text.starts_with(
                "7,\"\",\"1970-01-01T00:00:00.000Z\",\"search\",0,\"a \"\"b\"\",\r\nc\",\"'@alice:a.example\","
            ),
            "{text}"
        );
        assert!(text.contains(",\"'=cmd|' /C calc'!A0\",") && text.contains(",\"'-1\",") && text.contains(",\"'+1\","));
        let quoted = text.replace("\"\"", "").split('"').skip(1).step_by(2).count();
        // Number and outcome are none of people's words.
        let simple = Record::by(Act::Search, Origin::default()).why("w");
        let mut plain = String::new();
        row(&mut plain, &Entry { number: 1, record: simple });
        assert_eq!(plain.split(',').count(), COLUMNS.split(',').count());
        assert!(quoted > 5);
    }

    #[test]
    fn a_line_is_one_line() {
        let mut text = String::new();
        line(&mut text, &Entry { number: 7, record: Record::by(Act::Search, Origin::default()).why("a\nb") });
        assert_eq!(text.matches('\n').count(), 1);
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["record"]["why"] == "a\nb");
    }
}
