//! Measurements in the text format of Prometheus, on a listener of their own.

mod process;
mod text;
mod witness;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::header::CONTENT_TYPE;
use wardroom_atna::{FeedSample, Feeds};
use wardroom_directories::{Directories, SourceStatus};
use wardroom_federation::{DestinationSample, Federation, OutboxStats};
use wardroom_media::{Media, Totals};
use wardroom_push::Push;
use wardroom_store::Store;
use wardroom_web::{DURATION_BUCKETS_MS, RequestMetrics, RouteSample};

use self::text::{Kind, Text};

/// The format's media type.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Other servers with measurements of their own.
const DESTINATIONS_MAX: usize = 100;

#[derive(Clone)]
struct Sources {
    store: Store,
    media: Media,
    push: Push,
    requests: Arc<RequestMetrics>,
    federation: Option<Federation>,
    directories: Directories,
    feeds: Feeds,
}

/// `GET /metrics`.
pub(crate) fn router(
    store: Store,
    push: Push,
    media: Media,
    requests: Arc<RequestMetrics>,
    federation: Option<Federation>,
    directories: Directories,
    feeds: Feeds,
) -> Router {
    let sources = Sources { store, push, media, requests, federation, directories, feeds };
    Router::new().route("/metrics", get(scrape)).with_state(sources)
}

async fn scrape(State(sources): State<Sources>) -> ([(http::HeaderName, &'static str); 1], String) {
    let mut text = Text::default();
    text.family("wardroom_info", Kind::Gauge, "Version of the server.");
    text.sample("wardroom_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    requests(&mut text, &sources.requests);
    store(&mut text, &sources.store);
    push(&mut text, &sources.push);
    media(&mut text, sources.media.totals());
    if let Some(federation) = &sources.federation {
        outbox(&mut text, federation.outbox.stats());
        destinations(&mut text, federation).await;
        witness::write(&mut text, federation).await;
    }
    directories(&mut text, &sources.directories);
    feeds(&mut text, &sources.feeds).await;
    // A file of /proc: read without disk.
    process::write(&mut text);
    ([(CONTENT_TYPE, TEXT_FORMAT)], text.into_string())
}

fn requests(text: &mut Text, requests: &RequestMetrics) {
    text.single("wardroom_http_requests_in_flight", Kind::Gauge, "Requests being served.", requests.in_flight());
    let samples = requests.samples();
    text.family("wardroom_http_requests_total", Kind::Counter, "Answers by method, route and status.");
    for RouteSample { method, route, statuses, .. } in &samples {
        for (hundreds, count) in statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
            let status = format!("{}xx", hundreds + 1);
            let labels = [("method", *method), ("route", route), ("status", &status)];
            text.sample("wardroom_http_requests_total", &labels, *count);
        }
    }
    text.family("wardroom_http_request_duration_seconds", Kind::Histogram, "Time to the answer's head.");
    for RouteSample { method, route, buckets, total_us, .. } in &samples {
        let mut below = 0;
        for (index, count) in buckets.iter().enumerate() {
            below += count;
            let bound =
                DURATION_BUCKETS_MS.get(index).map_or_else(|| "+Inf".to_owned(), |ms| text::seconds(ms * 1_000));
            let labels = [("method", *method), ("route", route.as_str()), ("le", bound.as_str())];
            text.sample("wardroom_http_request_duration_seconds_bucket", &labels, below);
        }
        let labels = [("method", *method), ("route", route.as_str())];
        text.sample("wardroom_http_request_duration_seconds_sum", &labels, text::seconds(*total_us));
        text.sample("wardroom_http_request_duration_seconds_count", &labels, below);
    }
}

fn directories(text: &mut Text, directories: &Directories) {
    let sources = directories.all();
    if sources.is_empty() {
        return;
    }
    let mut family = |name: &str, help: &str, value: fn(&SourceStatus) -> u64| {
        text.family(name, Kind::Gauge, help);
        for source in &sources {
            text.sample(name, &[("source", source.name.as_str())], value(source));
        }
    };
    family("wardroom_source_failures", "Failures in a row to read a source of roles.", |source| {
        source.failures_in_a_row.into()
    });
    family("wardroom_source_listed", "Users whom a source of roles lists.", |source| {
        u64::try_from(source.listed).unwrap_or(u64::MAX)
    });
    family("wardroom_source_last_success_seconds", "When it was last taken, since 1970; 0 for not yet.", |source| {
        source.last_success_ms.unwrap_or(0) / 1_000
    });
}

async fn feeds(text: &mut Text, feeds: &Feeds) {
    let samples = match feeds.samples().await {
        Ok(samples) => samples,
        Err(error) => {
            tracing::warn!(%error, "how destinations of audit records fare could not be measured");
            return;
        }
    };
    if samples.is_empty() {
        return;
    }
    let mut family = |name: &str, help: &str, value: fn(&FeedSample) -> u64| {
        text.family(name, Kind::Gauge, help);
        for sample in &samples {
            text.sample(name, &[("destination", sample.name.as_str())], value(sample));
        }
    };
    let waiting = "Audit records that a destination has yet to get, or to be certain to have.";
    family("wardroom_audit_feed_waiting", waiting, |sample| sample.waiting);
    family("wardroom_audit_feed_failures", "Failures in a row.", |sample| sample.failures);
    family("wardroom_audit_feed_last_success_seconds", "When it last took something, since 1970.", |sample| {
        sample.last_success_ms / 1_000
    });
    family("wardroom_audit_feed_alarm", "1 where it has failed for too long.", |sample| u64::from(sample.alarm));
}

fn media(text: &mut Text, totals: Totals) {
    text.single("wardroom_media_files", Kind::Gauge, "Files of media and thumbnails.", totals.files);
    text.single("wardroom_media_bytes", Kind::Gauge, "Bytes of their contents.", totals.bytes);
}

fn store(text: &mut Text, store: &Store) {
    let stats = store.stats();
    text.single("wardroom_store_position", Kind::Gauge, "Newest commit's position.", store.position().get());
    let counters = [
        ("wardroom_store_commits_total", "Successful commits.", stats.commits),
        ("wardroom_store_conflicts_total", "Commits refused for a precondition.", stats.conflicts),
        ("wardroom_store_failures_total", "Commits that failed for another reason.", stats.failures),
        ("wardroom_store_groups_total", "Writes of the engine, each with one fsync.", stats.groups),
        ("wardroom_store_written_bytes_total", "Bytes of keys and sealed values written.", stats.bytes_written),
        ("wardroom_store_reads_inline_total", "Reads answered from memory.", stats.reads_inline),
        ("wardroom_store_reads_blocking_total", "Reads that went to the disk.", stats.reads_blocking),
    ];
    for (name, help, value) in counters {
        text.single(name, Kind::Counter, help, value);
    }
    let name = "wardroom_store_write_seconds_total";
    text.single(name, Kind::Counter, "Time spent in writes of the engine.", text::seconds(stats.write_micros));
}

fn push(text: &mut Text, push: &Push) {
    let stats = push.stats();
    let counters = [
        ("wardroom_push_sent_total", "Notifications that push gateways took.", stats.sent),
        ("wardroom_push_failed_total", "Attempts to notify that failed.", stats.failed),
        ("wardroom_push_rejected_total", "Pushers removed for their gateway.", stats.rejected),
    ];
    for (name, help, value) in counters {
        text.single(name, Kind::Counter, help, value);
    }
    let help = "Pushers whose gateway failed, to be tried again.";
    text.single("wardroom_push_waiting", Kind::Gauge, help, stats.waiting);
}

/// What is measured of a destination.
type Measure = fn(&DestinationSample) -> u64;

fn outbox(text: &mut Text, stats: OutboxStats) {
    let counters = [
        ("wardroom_federation_transactions_total", "Transactions that other servers took.", stats.transactions),
        ("wardroom_federation_transaction_failures_total", "Attempts to send one that failed.", stats.failures),
        ("wardroom_federation_events_sent_total", "Events that other servers took.", stats.events),
        (
            "wardroom_federation_events_refused_total",
            "Of those, events that they did not accept.",
            stats.events_refused,
        ),
        ("wardroom_federation_edus_sent_total", "Other things that they took.", stats.edus),
        ("wardroom_federation_edus_dropped_total", "Messages for servers away for long.", stats.edus_dropped),
        ("wardroom_federation_items_refused_total", "What was dropped since it was always refused.", stats.refused),
        ("wardroom_federation_signals_dropped_total", "Typing and the like, not told.", stats.signals_dropped),
    ];
    for (name, help, value) in counters {
        text.single(name, Kind::Counter, help, value);
    }
    let gauges = [
        ("wardroom_federation_signal_bytes", "Memory of what waits there for other servers.", stats.signal_bytes),
        ("wardroom_federation_events_waiting", "Events that wait for other servers.", stats.events_waiting),
        ("wardroom_federation_edus_waiting", "Other things that do.", stats.edus_waiting),
        ("wardroom_federation_destinations_failing", "Servers that do not take what is sent.", stats.failing),
        ("wardroom_federation_destinations_shelved", "Servers not admitted, with a queue.", stats.not_admitted),
    ];
    for (name, help, value) in gauges {
        text.single(name, Kind::Gauge, help, value);
    }
}

async fn destinations(text: &mut Text, federation: &Federation) {
    let samples = match federation.outbox.samples(DESTINATIONS_MAX).await {
        Ok(samples) => samples,
        Err(error) => {
            tracing::warn!(%error, "how sending to other servers fares could not be measured");
            return;
        }
    };
    let name = "wardroom_federation_destination_waiting";
    text.family(name, Kind::Gauge, "What waits for a server; at most 100 servers are shown.");
    for sample in &samples {
        let server = sample.server.as_str();
        text.sample(name, &[("destination", server), ("kind", "event")], sample.events_waiting);
        text.sample(name, &[("destination", server), ("kind", "edu")], sample.edus_waiting);
    }
    let gauges: [(&str, &str, Measure); 3] = [
        ("wardroom_federation_destination_failures", "Failures in a row.", |sample| sample.failures),
        ("wardroom_federation_destination_catching_up", "Whether it was away for long.", |sample| {
            u64::from(sample.is_catching_up)
        }),
        ("wardroom_federation_destination_success_seconds", "When it last took something.", |sample| {
            sample.success_ts / 1_000
        }),
    ];
    for (name, help, value) in gauges {
        text.family(name, Kind::Gauge, help);
        for sample in &samples {
            text.sample(name, &[("destination", sample.server.as_str())], value(sample));
        }
    }
}
