//! Counts and durations of requests per route, for the metrics listener.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use parking_lot::RwLock;

/// Upper bounds of the duration buckets, in milliseconds. Long polls end in the last ones.
pub const DURATION_BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// Measurements of all requests. Bounded: one entry per method and route pattern, never per path.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    in_flight: AtomicU64,
    methods: RwLock<HashMap<&'static str, Routes>>,
}

/// Counters by route pattern.
type Routes = HashMap<Box<str>, Arc<Counters>>;

#[derive(Debug, Default)]
struct Counters {
    /// By hundreds of the status: 1xx to 5xx.
    statuses: [AtomicU64; 5],
    /// One per bucket, not cumulative, and one for what is longer.
    buckets: [AtomicU64; DURATION_BUCKETS_MS.len() + 1],
    total_us: AtomicU64,
}

/// What was measured for one method of one route.
#[derive(Clone, Debug)]
pub struct RouteSample {
    /// The method; "OTHER" for unusual ones.
    pub method: &'static str,
    /// The route's pattern, or "none" for requests that match no route.
    pub route: String,
    /// Answers by hundreds of the status: 1xx to 5xx.
    pub statuses: [u64; 5],
    /// Answers per bucket of [`DURATION_BUCKETS_MS`], not cumulative, the last for longer ones.
    pub buckets: [u64; DURATION_BUCKETS_MS.len() + 1],
    /// Sum of all durations, in microseconds.
    pub total_us: u64,
}

/// A request being served; counts until dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RequestMetrics {
    /// Counts a request as being served.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Counts an answer.
    pub(crate) fn record(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let counters = self.counters(name(method), route);
        let hundreds = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        counters.statuses[hundreds].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATION_BUCKETS_MS.partition_point(|bound_ms| bound_ms * 1_000 < took_us);
        counters.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        counters.total_us.fetch_add(took_us, Ordering::Relaxed);
    }

    fn counters(&self, method: &'static str, route: &str) -> Arc<Counters> {
        if let Some(counters) = self.methods.read().get(method).and_then(|routes| routes.get(route)) {
            return Arc::clone(counters);
        }
        let mut methods = self.methods.write();
        Arc::clone(methods.entry(method).or_default().entry(route.into()).or_default())
    }

    /// How many requests are being served.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The measurements so far, sorted by route and method.
    pub fn samples(&self) -> Vec<RouteSample> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut samples = Vec::new();
        for (method, routes) in &*self.methods.read() {
            samples.extend(routes.iter().map(|(route, counters)| RouteSample {
                method,
                route: route.to_string(),
                statuses: counters.statuses.each_ref().map(load),
                buckets: counters.buckets.each_ref().map(load),
                total_us: load(&counters.total_us),
            }));
        }
        samples.sort_by(|a, b| (&a.route, a.method).cmp(&(&b.route, b.method)));
        samples
    }
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::RequestMetrics;

    #[test]
    fn requests_are_counted_by_route_status_and_duration() {
        let metrics = RequestMetrics::default();
        metrics.record(&Method::GET, "/a/{b}", StatusCode::OK, Duration::from_micros(900));
        metrics.record(&Method::GET, "/a/{b}", StatusCode::NOT_FOUND, Duration::from_millis(1));
        metrics.record(&Method::GET, "/a/{b}", StatusCode::OK, Duration::from_secs(31));
        metrics.record(&Method::PUT, "/a/{b}", StatusCode::OK, Duration::ZERO);
        let samples = metrics.samples();
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].method, samples[0].statuses), ("GET", [0, 2, 0, 1, 0]));
        assert_eq!((samples[0].buckets[0], samples[0].buckets[12]), (2, 1));
        assert_eq!(samples[0].total_us, 31_001_900);
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_goes() {
        let metrics = RequestMetrics::default();
        let guard = metrics.enter();
        assert_eq!(metrics.in_flight(), 1);
        drop(guard);
        assert_eq!(metrics.in_flight(), 0);
    }
}
