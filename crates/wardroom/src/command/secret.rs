//! Passwords and tokens: never on the command line, where every process of the machine could read them.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use zeroize::Zeroizing;

use super::Failure;

/// Longest file with a secret that is read.
const SECRET_FILE_BYTES_MAX: u64 = 4_096;

/// The first line of a file, or of standard input if that is "-". `option` is what named it.
pub(super) fn first_line(option: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        io::stdin().take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("{option} {}: {error}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!("{option} {}: the first line is empty", path.display()).into());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// The password of a file, or else one that is asked for.
pub(super) fn password(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(path) => first_line("--password-file", path),
        None => prompt("Password: "),
    }
}

/// As [`password`], asked for twice: one that is to be set.
pub(super) fn new_password(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let password = password(file)?;
    if file.is_none() && *password != *prompt("Again: ")? {
        return Err("the two passwords differ".into());
    }
    Ok(password)
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    let answer = rpassword::prompt_password(question);
    let answer = answer.map_err(|error| format!("no password: {error} (--password-file takes it from a file)"))?;
    Ok(Zeroizing::new(answer))
}
