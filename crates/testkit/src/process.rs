//! The server's process: it ends with the test, whatever way the test ends.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to stop after SIGTERM before it is killed.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a condition that nothing announces is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How much of the end of a log a failure shows.
const LOG_TAIL_BYTES: i64 = 8 * 1024;

/// A running server and the shell that ends it when this process is gone.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    guard: Child,
}

impl Process {
    /// Starts a command. `dir` goes away with it when this process ends without stopping it.
    pub(crate) fn spawn(mut command: Command, dir: &Path) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A static server is never dropped and a killed test process drops nothing. The guard reads its standard
        // input, whose other end only this process holds: a line means that the server is already reaped (its pid
        // may be somebody else's by now); the end of the file means that this process is gone.
        let script = r#"read -r done && exit 0; kill -TERM "$1"; sleep 2; kill -KILL "$1"; rm -rf -- "$2""#;
        let guard = Command::new("sh")
            .args(["-c", script, "guard", &child.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Self { child, guard }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// SIGTERM, and SIGKILL when that takes longer than `STOP_LIMIT`; the second value says whether it did.
    pub(crate) fn stop(mut self) -> (ExitStatus, bool) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            if let Some(status) = self.ended() {
                return (status, false);
            }
            if Instant::now() >= deadline {
                return (self.kill(), true);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// SIGKILL, now.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.child.wait().expect("the child can be waited for")
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        // A child that was not waited for keeps its pid, so this can never hit another process.
        if self.ended().is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| panic!("signal to {}: {error}", self.child.id()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
        if let Some(mut line) = self.guard.stdin.take() {
            drop(line.write_all(b"done\n"));
        }
        drop(self.guard.wait());
    }
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// The standard output of a command that succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "expected success: {self:#?}");
        &self.stdout
    }

    /// Asserts that the command failed by itself and said why, mentioning each word, whatever its case.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn failed(&self, words: &[&str]) {
        let code = self.code.unwrap_or_else(|| panic!("ended by a signal: {self:#?}"));
        assert_ne!(code, 0, "expected a failure: {self:#?}");
        assert_ne!(code, 101, "a panic is no way to say it: {self:#?}");
        let said = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        for word in words {
            assert!(said.contains(&word.to_lowercase()), "{word:?} is not mentioned: {self:#?}");
        }
    }
}

/// Runs a command to its end, without standard input.
///
/// # Panics
/// When it takes longer than `limit`; it is killed then.
#[track_caller]
pub fn run(mut command: Command, limit: Duration) -> Ended {
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + limit;
    let mut late = false;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if Instant::now() >= deadline {
            late = true;
            drop(child.kill());
        }
        thread::sleep(LOOK_AGAIN);
    };
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the output can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ended = Ended { code: status.code(), stdout: read(stdout), stderr: read(stderr) };
    assert!(!late, "{command:?} took longer than {limit:?}: {ended:#?}");
    ended
}

/// A port of the loopback address that was free a moment ago, below the range that outgoing connections use.
pub fn free_port() -> u16 {
    const TRIES_MAX: usize = 1_000;
    for _ in 0..TRIES_MAX {
        let port = rand::random_range(16_000..32_000);
        if port_is_free(port) {
            return port;
        }
    }
    panic!("no free port found in {TRIES_MAX} tries");
}

/// Whether a server could listen on this port now.
pub(crate) fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The end of a log file, for a failure's message.
pub(crate) fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        file.seek(SeekFrom::End(-length.min(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let tail = read().unwrap_or_else(|error| format!("(unreadable: {error})"));
    format!("--- end of {}\n{tail}\n---", path.display())
}

/// Looks at a condition until it gives a value.
///
/// # Panics
/// When it gives none within `limit`.
#[track_caller]
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(LOOK_AGAIN);
    }
}
