//! Turns result lines into a Markdown table of medians, one column per server.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::stats::median;

/// (scenario, row name) -> label -> samples
type Table = BTreeMap<(usize, String, usize, String), BTreeMap<String, Vec<f64>>>;

const SCENARIOS: [&str; 7] = ["send", "fanout", "initial-sync", "join-storm", "history", "login", "raw-put"];
const METRICS: [&str; 8] = ["per_s", "events_per_s", "p50_ms", "p95_ms", "p99_ms", "max_ms", "bytes_mean", "errors"];
const RESOURCES: [&str; 9] = [
    "cpu_ms_per_op",
    "cpu_cores",
    "client_cpu_s",
    "other_load_cores",
    "rss_peak_mb",
    "pss_end_mb",
    "disk_write_mb",
    "data_kb_per_op",
    "data_mb",
];

pub fn table(lines: &[Value]) -> String {
    let mut t: Table = BTreeMap::new();
    let mut labels: Vec<String> = Vec::new();
    for l in lines {
        let (Some(sc), Some(label)) = (l["scenario"].as_str(), l["label"].as_str()) else { continue };
        if !labels.iter().any(|x| x == label) {
            labels.push(label.to_owned());
        }
        let si = SCENARIOS.iter().position(|x| *x == sc).unwrap_or(SCENARIOS.len());
        let mut put = |order: usize, name: String, v: f64| {
            t.entry((si, sc.to_owned(), order, name)).or_default().entry(label.to_owned()).or_default().push(v);
        };
        for (m, v) in l["metrics"].as_object().into_iter().flatten() {
            for (i, k) in METRICS.iter().enumerate() {
                if let Some(x) = v[*k].as_f64() {
                    put(i, format!("{m} {k}"), x);
                }
            }
        }
        for (i, k) in RESOURCES.iter().enumerate() {
            if let Some(x) = l["resources"][*k].as_f64() {
                put(100 + i, (*k).to_owned(), x);
            }
        }
    }
    let mut out =
        format!("| scenario | measure | {} |\n|---|---|{}\n", labels.join(" | "), "---:|".repeat(labels.len()));
    // Rows of one metric stay together: sort by scenario, resources last, then metric name, then order.
    let mut rows: Vec<_> = t.iter().collect();
    rows.sort_by_key(|((si, sc, order, name), _)| {
        let metric = if *order < 100 { name.split(' ').next().unwrap_or("").to_owned() } else { String::new() };
        (*si, sc.clone(), *order >= 100, metric, *order)
    });
    for ((_, sc, _, name), by) in rows {
        if name.ends_with(" errors") && by.values().flatten().all(|x| *x == 0.0) {
            continue;
        }
        let cells: Vec<String> =
            labels.iter().map(|l| by.get(l).and_then(|xs| median(xs)).map_or("–".to_owned(), fmt)).collect();
        out.push_str(&format!("| {sc} | {name} | {} |\n", cells.join(" | ")));
    }
    out
}

fn fmt(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_side_by_side() {
        let line = |label: &str, tput: f64| {
            json!({"scenario": "send", "label": label,
                "metrics": {"send": {"per_s": tput, "errors": 0}}, "resources": {"cpu_ms_per_op": 1.5}})
        };
        let t = table(&[line("a", 10.0), line("a", 30.0), line("a", 20.0), line("b", 1000.0)]);
        assert!(t.contains("| scenario | measure | a | b |"), "{t}");
        assert!(t.contains("| send | send per_s | 20.0 | 1000 |"), "{t}");
        assert!(t.contains("| send | cpu_ms_per_op | 1.50 | 1.50 |"), "{t}");
        assert!(!t.contains("errors"), "{t}");
    }

    #[test]
    fn errors_and_gaps_are_shown() {
        let t = table(&[
            json!({"scenario": "login", "label": "a", "metrics": {"login": {"errors": 3}}, "resources": {}}),
            json!({"scenario": "login", "label": "b", "metrics": {"login": {"per_s": 3.0}}, "resources": {}}),
        ]);
        assert!(t.contains("| login | login errors | 3.00 | – |"), "{t}");
    }
}
