use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use loadgen::client::{Registration, Res, Server};
use loadgen::procstat::Target;
use loadgen::scenarios::{self as sc, Ctx};
use loadgen::{report, share, targets};
use serde_json::{Value, json};

/// Black-box load benchmark for Matrix homeservers. One JSON line per scenario on stdout.
#[derive(Parser)]
struct Cli {
    /// Where the client-server API answers, such as http://127.0.0.1:8008
    #[arg(long, global = true, default_value = "http://127.0.0.1:8008")]
    base_url: String,
    #[arg(long, global = true, default_value = "localhost")]
    server_name: String,
    /// Name of the server in the results.
    #[arg(long, global = true, default_value = "server")]
    label: String,
    /// Register with this registration token (m.login.registration_token).
    #[arg(long, global = true)]
    registration_token: Option<String>,
    /// Register through /_synapse/admin/v1/register with this shared secret.
    #[arg(long, global = true, conflicts_with = "registration_token")]
    shared_secret: Option<String>,
    /// Server process to sample, children included. Repeat for a database server beside it.
    #[arg(long, global = true)]
    pid: Vec<u32>,
    /// Data directory to size. May be repeated.
    #[arg(long, global = true)]
    data_dir: Vec<PathBuf>,
    /// Room version asked for in createRoom.
    #[arg(long, global = true, default_value = "11")]
    room_version: String,
    /// Seconds after which one request fails.
    #[arg(long, global = true, default_value_t = 60)]
    request_timeout: u64,
    /// Worker threads of this program.
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
    /// Also append the result lines to this file.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    cmd: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Concurrent message sends for a fixed time.
    Send(sc::SendArgs),
    /// One sender, many long-polling receivers: delivery latency.
    Fanout(sc::FanoutArgs),
    /// Initial, incremental and sliding syncs of an account in many rooms.
    InitialSync(sc::InitialSyncArgs),
    /// Many users join one public room at once.
    JoinStorm(sc::JoinStormArgs),
    /// Back-pagination through a long room.
    History(sc::HistoryArgs),
    /// Password logins for a fixed time.
    Login(sc::LoginArgs),
    /// Opening a client, by the number of rooms of the account.
    AccountSize(sc::AccountSizeArgs),
    /// A large file up and down, and messages while thumbnails are made.
    Media(sc::MediaArgs),
    /// Plain PUTs against `ceiling-http` (or any server that answers them).
    RawPut(sc::RawPutArgs),
    /// Every scenario but raw-put, at its default size.
    All {
        #[arg(long, default_value_t = 1)]
        repeats: usize,
        /// Only these scenarios (comma separated).
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Medians of result files as a Markdown table, one column per label.
    Report {
        /// Result files of any servers.
        files: Vec<PathBuf>,
    },
    /// Whether the runs with --label reach the project's targets; fails when not.
    Targets {
        /// Result files, the peer's among them.
        files: Vec<PathBuf>,
    },
    /// What the audit trail costs: runs labelled `audited` beside those labelled `silent`; fails when it is more than it may be.
    Share {
        /// The label of the runs that have a trail.
        #[arg(long, default_value = "audited")]
        with: String,
        /// Result files of both.
        files: Vec<PathBuf>,
    },
}

/// Default arguments of a scenario, as the command line would give them.
fn defaults<A: clap::Args>() -> A {
    let cmd = A::augment_args(clap::Command::new("defaults"));
    A::from_arg_matches(&cmd.get_matches_from(["defaults"])).expect("all arguments have defaults")
}

/// The lines of result files; what cannot be read is told and left out.
fn result_lines(files: &[PathBuf]) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => lines.extend(text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok())),
            Err(error) => eprintln!("{}: {error}", file.display()),
        }
    }
    lines
}

/// Milliseconds since 1970 in base 36: differs between runs.
fn run_id() -> String {
    let mut n = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let mut s = String::new();
    while n > 0 {
        s.insert(0, char::from_digit((n % 36) as u32, 36).unwrap_or('0'));
        n /= 36;
    }
    s
}

fn main() {
    let cli = Cli::parse();
    match &cli.cmd {
        Cmd::Report { files } => {
            print!("{}", report::table(&result_lines(files)));
            return;
        }
        Cmd::Targets { files } => {
            let (table, all) = targets::table(&result_lines(files), &cli.label);
            print!("{table}");
            std::process::exit(i32::from(!all));
        }
        Cmd::Share { with, files } => {
            let (table, all) = share::table(&result_lines(files), with, "silent");
            print!("{table}");
            std::process::exit(i32::from(!all));
        }
        _ => {}
    }
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.threads.max(1))
        .enable_all()
        .build()
        .expect("runtime");
    let ok = rt.block_on(run(cli));
    rt.shutdown_timeout(Duration::from_secs(1));
    std::process::exit(if ok { 0 } else { 1 });
}

async fn run(cli: Cli) -> bool {
    let reg = match (&cli.registration_token, &cli.shared_secret) {
        (Some(t), _) => Registration::Token(t.clone()),
        (_, Some(s)) => Registration::SharedSecret(s.clone()),
        _ => Registration::Dummy,
    };
    let timeout = Duration::from_secs(cli.request_timeout);
    let cx = Ctx {
        server: Server::new(&cli.base_url, &cli.server_name, reg, &cli.room_version, timeout),
        target: Target { pids: cli.pid.clone(), data_dirs: cli.data_dir.clone() },
        label: cli.label.clone(),
        run_id: run_id(),
        pool: Default::default(),
        rounds: AtomicUsize::new(0),
    };
    let emit = |name: &str, r: Res<Value>| -> bool {
        let (v, ok) = match r {
            Ok(v) => (v, true),
            Err(e) => (json!({"scenario": name, "label": cli.label, "failed": e.to_string()}), false),
        };
        if v.to_string().contains("M_LIMIT_EXCEEDED") {
            eprintln!("warning: {name}: the server's rate limits are on; these numbers mean nothing");
        }
        println!("{v}");
        if let Some(p) = &cli.out {
            let f = std::fs::OpenOptions::new().create(true).append(true).open(p);
            if let Err(e) = f.and_then(|mut f| writeln!(f, "{v}")) {
                eprintln!("{}: {e}", p.display());
            }
        }
        ok
    };
    match &cli.cmd {
        Cmd::Send(a) => emit("send", sc::send(&cx, a).await),
        Cmd::Fanout(a) => emit("fanout", sc::fanout(&cx, a).await),
        Cmd::InitialSync(a) => emit("initial-sync", sc::initial_sync(&cx, a).await),
        Cmd::JoinStorm(a) => emit("join-storm", sc::join_storm(&cx, a).await),
        Cmd::History(a) => emit("history", sc::history(&cx, a).await),
        Cmd::Login(a) => emit("login", sc::login(&cx, a).await),
        Cmd::AccountSize(a) => emit("account-size", sc::account_size(&cx, a).await),
        Cmd::Media(a) => emit("media", sc::media(&cx, a).await),
        Cmd::RawPut(a) => emit("raw-put", sc::raw_put(&cx, a).await),
        Cmd::All { repeats, only } => {
            let want = |n: &str| only.is_empty() || only.iter().any(|o| o == n);
            let mut ok = true;
            for _ in 0..*repeats {
                if want("send") {
                    ok &= emit("send", sc::send(&cx, &defaults()).await);
                }
                if want("fanout") {
                    ok &= emit("fanout", sc::fanout(&cx, &defaults()).await);
                }
                if want("initial-sync") {
                    ok &= emit("initial-sync", sc::initial_sync(&cx, &defaults()).await);
                }
                if want("join-storm") {
                    ok &= emit("join-storm", sc::join_storm(&cx, &defaults()).await);
                }
                if want("history") {
                    ok &= emit("history", sc::history(&cx, &defaults()).await);
                }
                if want("login") {
                    ok &= emit("login", sc::login(&cx, &defaults()).await);
                }
            }
            // Once, and last: they leave thousands of rooms and large files behind.
            if want("account-size") {
                ok &= emit("account-size", sc::account_size(&cx, &defaults()).await);
            }
            if want("media") {
                ok &= emit("media", sc::media(&cx, &defaults()).await);
            }
            ok
        }
        Cmd::Report { .. } | Cmd::Targets { .. } | Cmd::Share { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let a: sc::SendArgs = defaults();
        assert_eq!((a.users, a.concurrency), (16, 16));
    }
}
