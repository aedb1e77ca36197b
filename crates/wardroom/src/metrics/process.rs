//! Memory, processor time and open files of this process, from `/proc`.

use std::fs;

use super::text::{Kind, Text, seconds};

/// Fields of `/proc/self/smaps_rollup` worth showing, with the metric's name and help.
const MEMORY: [(&str, &str, &str); 3] = [
    ("Rss:", "process_resident_memory_bytes", "Resident memory."),
    ("Pss:", "wardroom_proportional_memory_bytes", "Memory with shared pages counted by share."),
    ("Anonymous:", "wardroom_anonymous_memory_bytes", "Memory that no file backs."),
];

/// What the system does not tell is left out.
pub(super) fn write(text: &mut Text) {
    if let Ok(rollup) = fs::read_to_string("/proc/self/smaps_rollup") {
        for (field, name, help) in MEMORY {
            if let Some(kib) = kib(&rollup, field) {
                text.single(name, Kind::Gauge, help, kib * 1_024);
            }
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", Kind::Gauge, "Open files.", files.count());
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let micros = u64::try_from(used.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(used.tv_nsec / 1_000).unwrap_or(0);
    text.single("process_cpu_seconds_total", Kind::Counter, "Processor time.", seconds(micros));
}

fn kib(rollup: &str, field: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Text, kib, write};

    #[test]
    fn fields_are_found_by_name() {
        let rollup =
            "55d0 [rollup]\nRss:               12344 kB\nPss:                9000 kB\nPss_Dirty:          1 kB\n";
        assert_eq!((kib(rollup, "Rss:"), kib(rollup, "Pss:"), kib(rollup, "Swap:")), (Some(12_344), Some(9_000), None));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let mut text = Text::default();
        write(&mut text);
        let text = text.into_string();
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }
}
