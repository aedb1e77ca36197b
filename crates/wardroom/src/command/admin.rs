//! `wardroom admin`: the common acts of administration, over the administration API of the running server.
//!
//! Nothing here opens the store: what an administrator may do, the server decides.

mod alarms;
mod arguments;
mod audit;
mod backup;
mod client;
mod federation;
mod holds;
mod names;
mod policy;
mod review;
mod roles;
mod rooms;
mod session;
mod shown;
mod tasks;
mod templates;
mod tokens;
mod users;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::{
    client::{Connection, Server},
    shown::Answer,
};
use super::{Failure, complain, print, runtime};

/// Exit status of what could not be asked: a file that is missing, no token, no address.
const USAGE: u8 = 2;

#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(flatten)]
    connection: Connection,
    /// Print what the server answers as JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Signs in as an administrator and keeps the access token in --token-file.
    Login(session::Login),
    /// Ends that session and removes the file.
    Logout,
    /// Accounts of this server.
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Rooms.
    #[command(subcommand)]
    Rooms(rooms::RoomsCommand),
    /// Which roles rooms require.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Policies that new rooms get by themselves.
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Who has which role.
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// Lists everybody in rooms that require roles, for those who recertify them.
    Review(review::Review),
    /// Looks at once whether those in rooms still may be there.
    Revalidate(review::Revalidate),
    /// What an administrator has to look at.
    #[command(subcommand)]
    Alarms(alarms::AlarmsCommand),
    /// Legal holds: what must not be deleted.
    #[command(subcommand)]
    Holds(holds::HoldsCommand),
    /// The audit trail.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Registration tokens.
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Other servers.
    #[command(subcommand)]
    Federation(federation::FederationCommand),
    /// Lists what runs in the background.
    Tasks,
    /// Has the server copy everything that it stores to its backup directories.
    Backup,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    /// It could not be asked.
    #[error("{0}")]
    Usage(Failure),
    /// The server refused, or did not do it.
    #[error("{0}")]
    Refused(String),
    /// The server could not be asked.
    #[error("{url} does not answer")]
    Unreachable {
        url: String,
        #[source]
        source: wardroom_outbound::OutboundError,
    },
    /// The result could not be printed or kept.
    #[error("the result is lost")]
    Lost(#[source] std::io::Error),
}

impl AdminError {
    fn usage(failure: impl Into<Failure>) -> Self {
        Self::Usage(failure.into())
    }
}

/// Runs a command: 0 is done, 1 refused, 2 not asked.
pub(super) fn run(admin: &Admin) -> ExitCode {
    match done(admin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            match error {
                AdminError::Usage(_) => ExitCode::from(USAGE),
                AdminError::Refused(_) | AdminError::Unreachable { .. } | AdminError::Lost(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn done(admin: &Admin) -> Result<(), AdminError> {
    let answer = runtime().map_err(AdminError::usage)?.block_on(ask(admin))?;
    print(&answer.printed(admin.json)).map_err(AdminError::Lost)
}

async fn ask(Admin { connection, command, json: _ }: &Admin) -> Result<Answer, AdminError> {
    let server = || Server::signed_in(connection);
    match command {
        AdminCommand::Login(login) => login.run(connection).await,
        AdminCommand::Logout => session::logout(connection).await,
        AdminCommand::Users(command) => command.run(&server()?).await,
        AdminCommand::Rooms(command) => command.run(&server()?).await,
        AdminCommand::Policy(command) => command.run(&server()?).await,
        AdminCommand::Templates(command) => command.run(&server()?).await,
        AdminCommand::Roles(command) => command.run(&server()?).await,
        AdminCommand::Review(review) => review.run(&server()?).await,
        AdminCommand::Revalidate(revalidate) => revalidate.run(&server()?).await,
        AdminCommand::Alarms(command) => command.run(&server()?).await,
        AdminCommand::Holds(command) => command.run(&server()?).await,
        AdminCommand::Audit(command) => command.run(&server()?).await,
        AdminCommand::Tokens(command) => command.run(&server()?).await,
        AdminCommand::Federation(command) => command.run(&server()?).await,
        AdminCommand::Tasks => tasks::list(&server()?).await,
        AdminCommand::Backup => backup::make(&server()?).await,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::{Arg, Command, CommandFactory as _};

    use crate::command::Arguments;

    const PAGE: &str = include_str!("../../../../docs/admin-cli.md");

    /// An argument as the page writes it.
    fn written(argument: &Arg) -> String {
        let value = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
        let text = match argument.get_long() {
            None => value,
            Some(name) if argument.get_action().takes_values() => format!("--{name} {value}"),
            Some(name) => format!("--{name}"),
        };
        if argument.is_required_set() { text } else { format!("[{text}]") }
    }

    /// A row of the page for each command that does something.
    fn rows(command: &Command, before: &str, page: &mut String) {
        let name = format!("{before} {}", command.get_name()).trim_start().to_owned();
        if command.has_subcommands() {
            return command.get_subcommands().for_each(|command| rows(command, &name, page));
        }
        let (mut arguments, options): (Vec<&Arg>, Vec<&Arg>) =
            command.get_arguments().partition(|one| one.is_positional());
        let (required, others): (Vec<&Arg>, Vec<&Arg>) = options.into_iter().partition(|one| one.is_required_set());
        arguments.extend(required.into_iter().chain(others));
        let usage = arguments.into_iter().fold(name, |usage, argument| usage + " " + &written(argument));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "| `{usage}` | {about} |").unwrap();
    }

    #[test]
    fn the_page_lists_every_command_as_the_help_does() {
        let arguments = Arguments::command();
        let mut expected = String::new();
        let admin = arguments.find_subcommand("admin").unwrap();
        admin.get_subcommands().for_each(|command| rows(command, "", &mut expected));
        let listed: String = PAGE
            .lines()
            .filter(|line| line.starts_with("| `") && !line.starts_with("| `--"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(listed, expected, "docs/admin-cli.md should have\n{expected}");
        let options = admin.get_arguments().filter_map(Arg::get_long);
        for option in options {
            assert!(PAGE.contains(&format!("`--{option}")), "--{option} is not on the page");
        }
    }
}
