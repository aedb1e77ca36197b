//! The command line.

mod admin;
mod audit;
mod backup;
mod check;
mod federation;
mod fsck;
mod keys;
mod secret;
mod serve;
mod user_create;

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    causes::in_full,
    config::{self, Config},
};

/// The Matrix homeserver for hospitals.
#[derive(Debug, Parser)]
#[command(name = "wardroom", version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until SIGINT or SIGTERM.
    Serve(ConfigFile),
    /// Checks the configuration and what it points to, and prints what is wrong.
    Check(ConfigFile),
    /// Prints a configuration with every option, its default and what it means.
    Config {
        /// Print the example (there is nothing else to print).
        #[arg(long, required = true)]
        example: bool,
    },
    /// Administers the server while it runs, over its administration API.
    Admin(admin::Admin),
    /// Manages users while the server is stopped.
    #[command(subcommand)]
    User(UserCommand),
    /// Manages the key that the server signs with, while the server is stopped.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Copies everything that is stored, and checks such copies.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Puts a backup into an empty data directory, destroys in it what was destroyed since, and checks it.
    Restore(backup::Restore),
    /// Finds out about other servers.
    #[command(subcommand)]
    Federation(federation::FederationCommand),
    /// Checks exported audit records.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Checks that the stored log, timelines, states, indexes and audit records agree, while the server is stopped.
    Fsck(ConfigFile),
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Creates a user; asks for the password.
    Create(user_create::UserCreate),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file. Variables WARDROOM_SECTION__KEY of the environment override it.
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

impl ConfigFile {
    /// The configuration, read and validated.
    fn load(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.path)?)
    }
}

/// Why a command failed, in a sentence for the operator.
type Failure = Box<dyn Error + Send + Sync>;

/// Runs a command; tells on standard error why it failed.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.command {
        Command::Serve(file) => serve::run(&file),
        Command::Check(file) => check::run(&file),
        Command::Config { example: _ } => print(config::EXAMPLE).map_err(Failure::from),
        Command::Admin(admin) => return admin::run(&admin),
        Command::User(UserCommand::Create(create)) => user_create::run(&create),
        Command::Keys(command) => keys::run(&command),
        Command::Backup(command) => backup::run(&command),
        Command::Restore(restore) => backup::restore(&restore),
        Command::Federation(command) => federation::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Fsck(file) => fsck::run(&file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&*failure);
            ExitCode::FAILURE
        }
    }
}

/// Tells on standard error why a command failed.
fn complain(failure: &(dyn Error + 'static)) {
    // Nobody reads standard error: nobody is left to tell that.
    let _ = writeln!(io::stderr(), "wardroom: {}", in_full(failure));
}

/// Writes to standard output.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The runtime that a command runs on.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    /// Threads for reads from disk and password hashes, beyond the workers.
    const BLOCKING_THREADS_MAX: usize = 32;
    tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS_MAX).enable_all().build()
}
