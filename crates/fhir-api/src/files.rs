//! Files of exports, as they are sent: a line of JSON for each record, read from the trail while the client takes them.

use std::{io::Write as _, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use wardroom_atna::{AuditEvent, ExportReader};
use wardroom_audit::Entry;

/// The form of exports.
pub(crate) const NDJSON: &str = "application/fhir+ndjson";
/// What a resource takes, roughly, in bytes: so much is asked for at once.
const RESOURCE_BYTES: usize = 2_048;

/// What is sent next.
struct Lines {
    reader: ExportReader,
    server_name: Arc<str>,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

/// Answers with a file. A failure in the middle breaks the answer off.
pub(crate) fn answer(reader: ExportReader, server_name: Arc<str>, gzip: bool) -> Response {
    let gzip_of = gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    let lines = Lines { reader, server_name, gzip: gzip_of };
    let chunks = stream::try_unfold(Some(lines), |lines| async move {
        let Some(mut lines) = lines else { return Ok::<_, axum::BoxError>(None) };
        loop {
            let Some(entries) = lines.reader.next().await? else { break };
            let chunk = lines.chunk(&entries)?;
            // The compressor may keep what it has for later.
            if !chunk.is_empty() {
                return Ok(Some((chunk, Some(lines))));
            }
        }
        let end = lines.gzip.take().map(GzEncoder::finish).transpose()?;
        Ok(end.map(|end| (Bytes::from(end), None)))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

impl Lines {
    fn chunk(&mut self, entries: &[Entry]) -> std::io::Result<Bytes> {
        let mut text = Vec::with_capacity(entries.len().saturating_mul(RESOURCE_BYTES));
        for entry in entries {
            serde_json::to_writer(&mut text, &AuditEvent::of(&entry.record, &self.server_name))?;
            text.push(b'\n');
        }
        match &mut self.gzip {
            None => Ok(text.into()),
            Some(gzip) => {
                gzip.write_all(&text)?;
                Ok(std::mem::take(gzip.get_mut()).into())
            }
        }
    }
}
