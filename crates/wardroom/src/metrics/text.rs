//! The text format of Prometheus (exposition formats, version 0.0.4).

use std::fmt::{Display, Write as _};

/// What a family of samples counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Text that grows by families and samples. Writing to a String does not fail.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Microseconds as seconds, exactly.
pub(super) fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Text, seconds};

    #[test]
    fn families_and_samples_are_lines() {
        let mut text = Text::default();
        text.single("up", Kind::Gauge, "Whether.", 1);
        text.family("hits_total", Kind::Counter, "How many.");
        text.sample("hits_total", &[("route", "/a/{b}"), ("odd", "x\"\\\n")], 2);
        assert_eq!(
            text.into_string(),
            "# HELP up Whether.\n# TYPE up gauge\nup 1\n# HELP hits_total How many.\n# TYPE hits_total counter\n\
             hits_total{route=\"/a/{b}\",odd=\"x\\\"\\\\\\n\"} 2\n"
        );
    }

    #[test]
    fn seconds_are_exact() {
        assert_eq!(seconds(1_000), "0.001");
        assert_eq!(seconds(2_000_000), "2");
        assert_eq!(seconds(1_234_567), "1.234567");
        assert_eq!(seconds(0), "0");
    }
}
