//! `wardroom federation check`.

use std::{fmt::Write as _, sync::Arc};

use clap::{Args, Subcommand};
use ruma::OwnedServerName;
use wardroom_clock::SystemClock;
use wardroom_federation::{Finding, Verdict, diagnose};

use super::{ConfigFile, Failure, print, runtime};
use crate::wiring;

#[derive(Debug, Subcommand)]
pub(super) enum FederationCommand {
    /// Says in words whether this server can speak to another one, and what to do if not. The server may run meanwhile.
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// The name of the other server, the part after the colon in the ids of its users.
    partner: OwnedServerName,
}

pub(super) fn run(command: &FederationCommand) -> Result<(), Failure> {
    let FederationCommand::Check(check) = command;
    let config = check.config.load()?;
    let settings = wiring::partner_settings(&config)?;
    let clock = Arc::new(SystemClock);
    let findings = runtime()?.block_on(diagnose(&config.server_name, &check.partner, &settings, clock))?;
    print(&shown(&findings))?;
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if bad == 0 {
        print(&format!("This server can ask {}.\n", check.partner))?;
        return Ok(());
    }
    Err(format!("this server cannot speak to {}", check.partner).into())
}

fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { step, verdict, sentence, advice } in findings {
        let mark = match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "FAILED",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{mark:<7} {step}: {sentence}");
        if !advice.is_empty() {
            let _ = writeln!(text, "        {advice}");
        }
    }
    text
}
