//! One server: the real binary on a directory of its own.

use std::{
    env, fs,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

pub use crate::process::wait_until;
use crate::{
    Config, Follower, TlsFiles, User,
    actor::Anonymous,
    config::Federating,
    http::{Body, Http, Reply, Target, Unreachable, raw},
    process::{Process, STOP_LIMIT, free_port, log_tail, port_is_free},
};

/// How long a server may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often another process may take the port between its choice and the server's `bind`.
const PORT_TRIES_MAX: usize = 5;
/// How often a starting server is asked whether it answers.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A running server. Dropping it stops it and removes its directory; the end of the test process, whatever ended
/// it, does the same for servers in statics.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    config: Config,
    dir: TempDir,
    ports: Vec<u16>,
    http: Http,
    process: Option<Process>,
}

impl Server {
    /// Starts a server with the tests' usual configuration. `binary` is what Cargo built for this test
    /// (`env!("CARGO_BIN_EXE_wardroom")`); the variable `HOMESERVER_BIN` names another.
    pub fn start(binary: &str) -> Self {
        Self::start_with(binary, Config::default())
    }

    /// Starts a server with a configuration, in a directory of its own.
    pub fn start_with(binary: &str, config: Config) -> Self {
        let dir = tempfile::Builder::new().prefix("wardroom-test-").tempdir().expect("a temporary directory");
        Self::start_in(binary, config, dir)
    }

    /// Starts a server in a directory that the caller prepared.
    ///
    /// # Panics
    /// When it does not answer within 30 seconds; the message has its log.
    pub fn start_in(binary: &str, config: Config, dir: TempDir) -> Self {
        let binary = binary_under_test(binary);
        let http = Http::new(String::new(), dir.path().join("server.log"));
        let mut server = Self { binary, config, dir, ports: Vec::new(), http, process: None };
        server.start_again();
        server
    }

    /// Starts the stopped server on the same directory, on the same ports when they are still free. Users keep
    /// working.
    ///
    /// # Panics
    /// When it runs already, or does not answer within 30 seconds.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        for _ in 0..PORT_TRIES_MAX {
            if self.ports.is_empty() {
                self.ports = (0..=self.config.listeners.len()).map(|_| free_port()).collect();
            }
            self.name_after_ports();
            self.write_config();
            let process = Process::spawn(self.serve_command(), self.dir.path());
            self.http.redirect(format!("http://127.0.0.1:{}", self.ports[0]));
            match self.wait_ready(process) {
                Ok(process) => {
                    self.process = Some(process);
                    return;
                }
                Err(status) if self.ports.iter().copied().all(port_is_free) => {
                    panic!("the server ended at its start, {status}\n{}", log_tail(&self.log_path()));
                }
                Err(_) => self.ports.clear(),
            }
        }
        panic!("other processes took {PORT_TRIES_MAX} free ports\n{}", log_tail(&self.log_path()));
    }

    /// Gives a server that speaks to others its certificate and its name, which holds a port.
    fn name_after_ports(&mut self) {
        let name = match &self.config.federation {
            None => return,
            Some(Federating::Host(host)) => format!("{host}:{}", self.ports[1]),
            Some(Federating::Name(name)) => name.clone(),
        };
        let named = self.config.server_name() == name;
        if !named || self.config.listeners[0].tls.is_none() {
            let files = TlsFiles::issued(self.dir.path());
            let authority = format!("[{:?}]", files.root.to_str().expect("paths of the tests are UTF-8"));
            self.config.listeners[0].tls = Some(files);
            self.config =
                self.config.clone().set("server_name", &format!("{name:?}")).set("federation.extra_ca", &authority);
        }
    }

    fn serve_command(&self) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("the log file opens");
        let serve = self.command(&["serve", "--config"]);
        let mut command = match self.config.launcher.split_first() {
            None => serve,
            Some((launcher, words)) => {
                let mut launch = without_wardroom_variables(Command::new(launcher));
                launch.args(words).arg(serve.get_program()).args(serve.get_args()).current_dir(self.dir.path());
                launch
            }
        };
        command.envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        command.arg(self.config_path()).stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        command
    }

    /// Waits for the first answer; the status when the process ends before it.
    fn wait_ready(&self, mut process: Process) -> Result<Process, ExitStatus> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let asked = self.http.try_request(&reqwest::Method::GET, &versions(), None, Body::Empty);
            // An answer counts only from our child: another process may hold the port.
            if let Some(status) = process.ended() {
                return Err(status);
            }
            if asked.is_ok_and(|reply| reply.status == 200) {
                return Ok(process);
            }
            assert!(Instant::now() < deadline, "no answer in {START_LIMIT:?}\n{}", log_tail(&self.log_path()));
            thread::sleep(ASK_AGAIN);
        }
    }

    /// A command of the binary under test, in the server's directory and without the caller's `WARDROOM_` variables.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = without_wardroom_variables(Command::new(&self.binary));
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// SIGTERM, and the way the process ended.
    ///
    /// # Panics
    /// When it takes longer than 10 seconds.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let (status, late) = self.process.take().expect("the server runs").stop();
        assert!(!late, "SIGTERM did not end the server in {STOP_LIMIT:?}\n{}", log_tail(&self.log_path()));
        status
    }

    /// SIGKILL, now: nothing of the process survives but what it wrote.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the server runs");
        process.signal(Signal::INT);
        wait_until("the end after SIGINT", STOP_LIMIT, || process.ended())
    }

    /// A clean stop and a new start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Writes the configuration file, which a start does by itself.
    pub fn write_config(&self) {
        fs::write(self.config_path(), self.config.to_toml(self.dir.path(), &self.ports)).unwrap();
    }

    /// Changes the configuration for the next start.
    pub fn reconfigure(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
    }

    /// The process id.
    ///
    /// # Panics
    /// When the server is stopped.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    /// The server's own directory: configuration, log, master key, data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("wardroom.toml")
    }

    /// Standard output and error of every run.
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Everything the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap()).into_owned()
    }

    /// The server's name, as in user ids.
    pub fn name(&self) -> &str {
        self.config.server_name()
    }

    /// Base URL of the first listener.
    pub fn base(&self) -> String {
        self.http.base()
    }

    /// The port of a listener: 0 is the first, plain one.
    pub fn port(&self, listener: usize) -> u16 {
        self.ports[listener]
    }

    /// The way to the first listener.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Somebody without an account.
    pub fn anonymous(&self) -> Anonymous {
        Anonymous::new(self.http.clone())
    }

    /// Registers a user with a unique name that starts with `prefix`.
    #[track_caller]
    pub fn user(&self, prefix: &str) -> User {
        self.anonymous().register(&crate::unique(prefix))
    }

    /// A user's sync from now on.
    #[track_caller]
    pub fn follow<'a>(&self, user: &'a User) -> Follower<'a> {
        Follower::start(user)
    }

    /// Asks another listener for something, without a token.
    ///
    /// # Errors
    /// `Unreachable` when there is no answer.
    pub fn ask_listener(&self, listener: usize, target: &Target) -> Result<Reply, Unreachable> {
        let http = Http::new(format!("http://127.0.0.1:{}", self.ports[listener]), self.log_path());
        http.try_request(&reqwest::Method::GET, target, None, Body::Empty)
    }

    /// Asks a TLS listener for `/versions`, trusting `tls` only and speaking at most TLS 1.2 or 1.3.
    ///
    /// # Errors
    /// `Unreachable` when there is no answer.
    pub fn ask_tls(&self, listener: usize, tls: &TlsFiles, version: TlsVersion) -> Result<Reply, Unreachable> {
        let version = match version {
            TlsVersion::V1_2 => reqwest::tls::Version::TLS_1_2,
            TlsVersion::V1_3 => reqwest::tls::Version::TLS_1_3,
        };
        let client = tls.client().tls_version_min(version).tls_version_max(version).build().expect("a TLS client");
        let url = format!("https://localhost:{}/_matrix/client/versions", self.ports[listener]);
        self.http.send(client.get(&url), format!("GET {url}"))
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
        if thread::panicking() {
            drop(std::io::Write::write_all(&mut std::io::stderr(), log_tail(&self.log_path()).as_bytes()));
        }
    }
}

/// The variables of whoever runs the tests must not configure the server under test.
fn without_wardroom_variables(mut command: Command) -> Command {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WARDROOM_")) {
        command.env_remove(name);
    }
    command
}

/// The binary under test: what Cargo built (`built`), or what the variable `HOMESERVER_BIN` names.
pub(crate) fn binary_under_test(built: &str) -> PathBuf {
    let binary = env::var_os("HOMESERVER_BIN").map_or_else(|| PathBuf::from(built), PathBuf::from);
    // Commands run in other directories than the tests.
    std::path::absolute(&binary).unwrap_or(binary)
}

/// A command of the binary under test, in a directory and without the caller's `WARDROOM_` variables.
pub fn command_in(binary: &str, dir: &Path, args: &[&str]) -> Command {
    let mut command = without_wardroom_variables(Command::new(binary_under_test(binary)));
    command.args(args).current_dir(dir);
    command
}

/// The endpoint that answers as soon as the server serves.
fn versions() -> Target {
    raw("/_matrix/client/versions")
}
