//! Samples CPU, memory and disk use of the server's process trees from /proc.
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stats::round3;

const TICKS_PER_S: f64 = 100.0; // USER_HZ on every Linux this runs on
const PAGE: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    ppid: u32,
    cpu_ticks: u64,
    rss_bytes: u64,
}

/// Parses /proc/PID/stat; the command name may itself contain spaces and parentheses.
fn parse_stat(s: &str) -> Option<Stat> {
    let rest = &s[s.rfind(')')? + 1..];
    let f: Vec<&str> = rest.split_ascii_whitespace().collect();
    // rest starts at field 3 (state); ppid=4, utime=14, stime=15, rss=24
    let n = |field: usize| f.get(field - 3)?.parse::<u64>().ok();
    Some(Stat { ppid: n(4)? as u32, cpu_ticks: n(14)? + n(15)?, rss_bytes: n(24)? * PAGE })
}

fn all_stats() -> HashMap<u32, Stat> {
    let mut m = HashMap::new();
    let Ok(dir) = fs::read_dir("/proc") else { return m };
    for e in dir.flatten() {
        let Some(pid) = e.file_name().to_str().and_then(|s| s.parse::<u32>().ok()) else { continue };
        if let Some(st) = fs::read_to_string(e.path().join("stat")).ok().and_then(|s| parse_stat(&s)) {
            m.insert(pid, st);
        }
    }
    m
}

fn tree(stats: &HashMap<u32, Stat>, roots: &[u32]) -> HashSet<u32> {
    let mut set: HashSet<u32> = roots.iter().copied().filter(|p| stats.contains_key(p)).collect();
    loop {
        let before = set.len();
        for (pid, st) in stats {
            if set.contains(&st.ppid) {
                set.insert(*pid);
            }
        }
        if set.len() == before {
            return set;
        }
    }
}

fn busy_ticks() -> u64 {
    let s = fs::read_to_string("/proc/stat").unwrap_or_default();
    let f: Vec<u64> =
        s.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).filter_map(|x| x.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    [0, 1, 2, 5, 6, 7].iter().filter_map(|i| f.get(*i)).sum()
}

fn pss_bytes(pid: u32) -> Option<u64> {
    let s = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kb = s.lines().find_map(|l| l.strip_prefix("Pss:"))?;
    Some(kb.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn write_bytes(pid: u32) -> Option<u64> {
    let s = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    s.lines().find_map(|l| l.strip_prefix("write_bytes: ")?.trim().parse().ok())
}

/// Allocated bytes (blocks) of everything under a directory.
pub fn dir_bytes(p: &Path) -> u64 {
    let Ok(md) = fs::symlink_metadata(p) else { return 0 };
    let mut n = md.blocks() * 512;
    if md.is_dir() {
        for e in fs::read_dir(p).into_iter().flatten().flatten() {
            n += dir_bytes(&e.path());
        }
    }
    n
}

/// A counter over a changing set of processes: a process that appears later counts
/// from zero, one that goes away keeps its last value.
#[derive(Default)]
struct TreeCounter {
    seen: HashMap<u32, (u64, u64)>, // pid -> (baseline, last)
    started: bool,
}

impl TreeCounter {
    fn update(&mut self, now: impl IntoIterator<Item = (u32, u64)>) {
        for (pid, v) in now {
            let base = if self.started { 0 } else { v };
            let e = self.seen.entry(pid).or_insert((base, v));
            e.1 = v;
        }
        self.started = true;
    }
    fn total(&self) -> u64 {
        self.seen.values().map(|(b, l)| l.saturating_sub(*b)).sum()
    }
}

#[derive(Clone, Default)]
pub struct Target {
    pub pids: Vec<u32>,
    pub data_dirs: Vec<PathBuf>,
}

pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Value>,
}

impl Sampler {
    pub fn start(target: &Target) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (t, s) = (target.clone(), stop.clone());
        let (ready_tx, ready_rx) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || sample_loop(&t, &s, ready_tx));
        let _ = ready_rx.recv_timeout(Duration::from_secs(5));
        Sampler { stop, thread }
    }

    pub fn finish(self) -> Value {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(Value::Null)
    }
}

fn sample_loop(t: &Target, stop: &AtomicBool, ready: std::sync::mpsc::Sender<()>) -> Value {
    let data0: u64 = t.data_dirs.iter().map(|d| dir_bytes(d)).sum();
    let own = [std::process::id()];
    let (mut cpu, mut wr, mut client) = (TreeCounter::default(), TreeCounter::default(), TreeCounter::default());
    let (mut rss_start, mut rss_peak) = (None, 0u64);
    let mut rss_end: u64;
    let busy0 = busy_ticks();
    let t0 = Instant::now();
    let mut last: HashSet<u32>;
    loop {
        let done = stop.load(Ordering::Relaxed);
        let stats = all_stats();
        last = tree(&stats, &t.pids);
        cpu.update(last.iter().map(|p| (*p, stats[p].cpu_ticks)));
        wr.update(last.iter().filter_map(|p| Some((*p, write_bytes(*p)?))));
        client.update(own.iter().filter_map(|p| Some((*p, stats.get(p)?.cpu_ticks))));
        rss_end = last.iter().map(|p| stats[p].rss_bytes).sum();
        rss_start.get_or_insert(rss_end);
        rss_peak = rss_peak.max(rss_end);
        let _ = ready.send(());
        if done {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let wall = t0.elapsed().as_secs_f64();
    let busy = (busy_ticks() - busy0) as f64 / TICKS_PER_S;
    let (cpu_s, client_s) = (cpu.total() as f64 / TICKS_PER_S, client.total() as f64 / TICKS_PER_S);
    let mb = |b: u64| round3(b as f64 / 1048576.0);
    let mut v = json!({
        "client_cpu_s": round3(client_s),
        // Cores kept busy by everything that is neither the server nor this program.
        "other_load_cores": round3(((busy - cpu_s - client_s) / wall).max(0.0)),
    });
    if !t.pids.is_empty() {
        v["cpu_s"] = json!(round3(cpu_s));
        v["cpu_cores"] = json!(round3(cpu_s / wall));
        v["rss_start_mb"] = json!(mb(rss_start.unwrap_or(0)));
        v["rss_peak_mb"] = json!(mb(rss_peak));
        v["rss_end_mb"] = json!(mb(rss_end));
        v["pss_end_mb"] = json!(mb(last.iter().filter_map(|p| pss_bytes(*p)).sum()));
        v["disk_write_mb"] = json!(mb(wr.total()));
        v["processes"] = json!(last.len());
    }
    if !t.data_dirs.is_empty() {
        let data1: u64 = t.data_dirs.iter().map(|d| dir_bytes(d)).sum();
        v["data_mb"] = json!(mb(data1));
        v["data_growth_kb"] = json!((data1 as i64 - data0 as i64) / 1024);
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_line_with_awkward_name() {
        let mut f = vec!["S", "42"]; // fields 3, 4
        f.extend(["0"; 9]); // 5..13
        f.extend(["120", "30"]); // 14, 15
        f.extend(["0"; 8]); // 16..23
        f.push("10"); // 24
        let line = format!("77 (a (b) c) {}", f.join(" "));
        assert_eq!(parse_stat(&line), Some(Stat { ppid: 42, cpu_ticks: 150, rss_bytes: 40960 }));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn tree_follows_children_only() {
        let st = |ppid| Stat { ppid, cpu_ticks: 0, rss_bytes: 0 };
        let m: HashMap<u32, Stat> = [(10, st(1)), (11, st(10)), (12, st(11)), (20, st(1))].into();
        let mut got: Vec<u32> = tree(&m, &[10]).into_iter().collect();
        got.sort();
        assert_eq!(got, [10, 11, 12]);
        assert!(tree(&m, &[999]).is_empty());
    }

    #[test]
    fn counter_handles_comings_and_goings() {
        let mut c = TreeCounter::default();
        c.update([(1, 100)]);
        c.update([(1, 110), (2, 5)]); // 2 is new: counts whole
        c.update([(1, 130)]); // 2 is gone: keeps 5
        assert_eq!(c.total(), 35);
    }

    #[test]
    fn own_process_is_visible() {
        let s = Sampler::start(&Target { pids: vec![std::process::id()], data_dirs: vec![] });
        let v = s.finish();
        assert!(v["rss_peak_mb"].as_f64().unwrap() > 0.5, "{v}");
        assert!(v["processes"].as_u64().unwrap() >= 1);
    }

    #[test]
    fn directory_size_grows() {
        let d = std::env::temp_dir().join(format!("loadgen-test-{}", std::process::id()));
        fs::create_dir_all(&d).unwrap();
        let a = dir_bytes(&d);
        fs::write(d.join("f"), vec![1u8; 100_000]).unwrap();
        fs::File::open(d.join("f")).unwrap().sync_all().unwrap();
        assert!(dir_bytes(&d) >= a + 90_000);
        fs::remove_dir_all(&d).unwrap();
    }
}
