//! Exceptions, each with its reason. A waiver that is not needed any more is a problem too.

/// An exception from a rule for one file or function.
pub(crate) struct Waiver {
    /// The file, from the top of the repository.
    pub(crate) file: &'static str,
    /// The function, or nothing for the whole file.
    pub(crate) function: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

/// Files longer than `FILE_LINES_MAX`, functions longer than `FUNCTION_LINES_MAX`.
pub(crate) const LENGTHS: &[Waiver] = &[];

/// Waivers that excuse nothing.
pub(crate) fn unused(waivers: &[Waiver], excused: &[(String, String)]) -> Vec<String> {
    let idle = |waiver: &&Waiver| !excused.iter().any(|(file, function)| waiver.covers(file, function));
    waivers
        .iter()
        .filter(idle)
        .map(|waiver| format!("{} {}: the waiver ({}) excuses nothing", waiver.file, waiver.function, waiver.reason))
        .collect()
}

impl Waiver {
    pub(crate) fn covers(&self, file: &str, function: &str) -> bool {
        self.file == file && self.function == function
    }
}
