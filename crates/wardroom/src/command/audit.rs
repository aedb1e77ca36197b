//! `wardroom audit`: what is done with exported records, without a server.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use wardroom_audit::{
    KeyKind, NoteKey,
    verify::{Cosigned, Known, Verified, verify},
    witness_of,
};

use super::{Failure, print};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Checks a directory of `wardroom admin audit export`: every record, hash and signature. Needs no server.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The directory.
    dir: PathBuf,
    /// The server's public key, or the file that it stands in. Without it the key in the directory is believed.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// File with a checkpoint that is known from before: the records must continue it.
    #[arg(long, value_name = "FILE")]
    from_checkpoint: Option<PathBuf>,
    /// A witness and its public key; may be given more than once. Of others the keys in the directory are believed.
    #[arg(long, value_name = "NAME=KEY")]
    witness: Vec<String>,
}

pub(super) fn run(command: &AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify(check) = command;
    let known = Known {
        key: check.key.as_deref().map(key).transpose()?,
        checkpoint: check.from_checkpoint.as_deref().map(text).transpose()?,
        witnesses: check.witness.iter().map(|argument| witness(argument)).collect::<Result<_, _>>()?,
    };
    let verified = verify(&check.dir, &known)?;
    Ok(print(&shown(&verified, known.key.is_some()))?)
}

fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The key of an argument, or of the file that it names.
fn key(argument: &str) -> Result<NoteKey, Failure> {
    if let Ok(key) = NoteKey::parse(argument) {
        return Ok(key);
    }
    let text = text(argument.as_ref())?;
    NoteKey::parse(text.trim()).map_err(|error| format!("--key {argument}: {error}").into())
}

/// The key of a witness, by the name of its server or its own.
fn witness(argument: &str) -> Result<NoteKey, Failure> {
    let wrong = |why: &str| Failure::from(format!("--witness {argument}: {why}"));
    let (name, key) = argument.split_once('=').ok_or_else(|| wrong("is not of the form NAME=KEY"))?;
    let key = NoteKey::parse(key).map_err(|error| wrong(&error.to_string()))?;
    if key.kind != KeyKind::Witness || (key.name != name && key.name != witness_of(name)) {
        return Err(wrong("this is not the key of that witness"));
    }
    Ok(key)
}

fn shown(verified: &Verified, key_known: bool) -> String {
    let Verified { key, records, deleted, root, checkpoints, witnesses } = verified;
    let root = STANDARD.encode(root);
    let mut text =
        format!("ok, {records} records, root {root}, newest checkpoint at {records}, {checkpoints} checkpoints\n");
    if *deleted > 0 {
        // Writing to a String does not fail.
        let _ = writeln!(text, "of the first {deleted} only the hashes are kept: their time was over");
    }
    for Cosigned { name, size, checkpoints, known } in witnesses {
        let whose = if *known { "" } else { ", with the key in the directory" };
        let _ = writeln!(text, "cosigned up to {size} by {name}: {checkpoints} checkpoints{whose}");
    }
    let _ = writeln!(text, "signed by {key}");
    if !key_known {
        text.push_str("note: this key is the one in the directory; compare it with the server's own\n");
    }
    text
}
