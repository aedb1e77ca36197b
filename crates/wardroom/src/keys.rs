//! The master key: from a file that is made on first start, or from a command that asks a key management service.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use wardroom_store::{MasterKey, MasterKeyError};
use zeroize::Zeroizing;

use crate::{
    causes::in_full,
    config::{Config, master_key::Source},
};

/// Permission bits of others than owner and group.
const OTHERS: u32 = 0o007;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("master_key.file {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "master_key.file {}: the file is missing, but {} holds data sealed with it: put the key back",
        path.display(), store.display()
    )]
    Lost { path: PathBuf, store: PathBuf },
    #[error("master_key.file {}: not 32 bytes in base64", .0.display())]
    BadFile(PathBuf),
    #[error("master_key.command: the command does not start: {0}")]
    Command(io::Error),
    #[error("master_key.command: the command failed ({0})")]
    CommandFailed(std::process::ExitStatus),
    #[error("master_key.command: the output is not 32 bytes in base64")]
    BadOutput,
}

/// The master key. With `create`, a key file that is not there is made, unless there is a store already.
pub(crate) fn master_key(config: &Config, create: bool) -> Result<MasterKey, KeyError> {
    match config.master_key.source(&config.data_dir) {
        Source::Command(command) => from_command(command),
        Source::File(path) => match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => MasterKey::from_base64(&text).map_err(|MasterKeyError { .. }| KeyError::BadFile(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let store = config.store_dir();
                if store.exists() {
                    Err(KeyError::Lost { path, store })
                } else if create {
                    make(&path).map_err(|source| KeyError::File { path, source })
                } else {
                    Err(KeyError::File { path, source: error })
                }
            }
            Err(source) => Err(KeyError::File { path, source }),
        },
    }
}

/// Problems with the master key that `check` reports. A key file that is yet to be made is none.
pub(crate) fn check(config: &Config) -> Vec<String> {
    if let Source::File(path) = config.master_key.source(&config.data_dir)
        && !path.exists()
        && !config.store_dir().exists()
    {
        return Vec::new();
    }
    let mut problems: Vec<String> = master_key(config, false).err().map(|error| in_full(&error)).into_iter().collect();
    problems.extend(readable_by_others(config));
    problems
}

/// A sentence if the key file is open to everybody on the machine.
pub(crate) fn readable_by_others(config: &Config) -> Option<String> {
    let Source::File(path) = config.master_key.source(&config.data_dir) else { return None };
    let mode = fs::metadata(&path).ok()?.permissions().mode();
    (mode & OTHERS != 0)
        .then(|| format!("master_key.file {}: everybody can read it; its mode should be 0600", path.display()))
}

/// Makes a directory, with those above it, for its owner only.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes a key file that only its owner can read, durably: what is sealed with it must never outlive it.
fn make(path: &Path) -> io::Result<MasterKey> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_private_dir(dir)?;
    let key = MasterKey::generate();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_base64().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::File::open(dir)?.sync_all()?;
    Ok(key)
}

fn from_command(command: &str) -> Result<MasterKey, KeyError> {
    let output = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(KeyError::Command)?;
    if !output.status.success() {
        return Err(KeyError::CommandFailed(output.status));
    }
    let bytes = Zeroizing::new(output.stdout);
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::BadOutput)?;
    MasterKey::from_base64(text).map_err(|MasterKeyError { .. }| KeyError::BadOutput)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{KeyError, check, master_key, readable_by_others};
    use crate::config::{Config, master_key::MasterKeyConfig};

    fn config(dir: &Path) -> Config {
        let mut config = Config::named(ruma::owned_server_name!("a.example"));
        config.data_dir = dir.join("data");
        config
    }

    #[test]
    fn a_key_file_is_made_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        assert!(check(&config).is_empty(), "a key that is yet to be made is no problem");
        let made = master_key(&config, true).unwrap();
        let path = dir.path().join("data/master.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*master_key(&config, false).unwrap().to_base64(), *made.to_base64());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(readable_by_others(&config).unwrap().contains("master_key.file"));
        fs::write(&path, "short").unwrap();
        assert!(matches!(master_key(&config, true), Err(KeyError::BadFile(_))));
    }

    #[test]
    fn a_lost_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        fs::create_dir_all(config.store_dir()).unwrap();
        assert!(matches!(master_key(&config, true), Err(KeyError::Lost { .. })));
    }

    #[test]
    fn a_command_prints_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        let with = |command: &str| MasterKeyConfig { file: None, command: Some(command.to_owned()) };
        config.master_key = with("head -c 32 /dev/zero | base64");
        assert_eq!(*master_key(&config, false).unwrap().to_base64(), "A".repeat(43) + "=");
        config.master_key = with("exit 3");
        assert!(matches!(master_key(&config, false), Err(KeyError::CommandFailed(_))));
        config.master_key = with("echo no");
        assert!(matches!(master_key(&config, false), Err(KeyError::BadOutput)));
    }
}
