//! What people write to the bot.

use ruma::{OwnedRoomOrAliasId, ServerName};

use crate::EmergencyReason;

/// Longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 16_384;
/// Quotation marks that may stand around a reason, opening and closing.
const QUOTES: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('“', '”'), ('„', '“'), ('„', '”'), ('«', '»')];

/// What is asked of the bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// How to talk to it, or what it did not understand.
    Help,
    /// What goes on.
    Status,
    /// Coming into a room.
    Begin { room: OwnedRoomOrAliasId, reason: EmergencyReason },
    /// Ending that.
    End { room: OwnedRoomOrAliasId },
    /// Something is missing or wrong; the sentence says what.
    Wrong(&'static str),
}

impl Command {
    /// Reads a command. A room may be named by its id, by an alias, or by an alias without the server.
    pub(super) fn read(text: &str, server: &ServerName) -> Self {
        const NO_ROOM: &str = "I need a room, by its address (such as #ward-7) or its id.";
        if text.len() > COMMAND_BYTES_MAX {
            return Self::Wrong("That is too long for me.");
        }
        let (verb, rest) = word(text);
        let verb = verb.trim_start_matches(['!', '/']).to_ascii_lowercase();
        match verb.as_str() {
            "status" => Self::Status,
            "end" => room(word(rest).0, server).map_or(Self::Wrong(NO_ROOM), |room| Self::End { room }),
            "breakglass" | "break-glass" => {
                let (name, rest) = word(rest);
                let (code, words) = word(rest);
                let Some(room) = room(name, server) else { return Self::Wrong(NO_ROOM) };
                if code.is_empty() || words.is_empty() {
                    return Self::Wrong("I need the code of a reason, and the reason in words.");
                }
                let (code, text) = (code.to_owned(), unquoted(words).to_owned());
                Self::Begin { room, reason: EmergencyReason { code, text, patient_ref: None } }
            }
            _ => Self::Help,
        }
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn room(name: &str, server: &ServerName) -> Option<OwnedRoomOrAliasId> {
    if name.starts_with('#') && !name.contains(':') && name.len() > 1 {
        return format!("{name}:{server}").try_into().ok();
    }
    name.try_into().ok()
}

fn unquoted(text: &str) -> &str {
    let within = |(open, close): &(char, char)| text.strip_prefix(*open)?.strip_suffix(*close);
    QUOTES.iter().find_map(within).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};
    use ruma::server_name;

    use super::{Command, unquoted};

    fn read(text: &str) -> Command {
        Command::read(text, server_name!("h1.example"))
    }

    #[test]
    fn an_emergency_is_asked_for_in_many_ways() {
        for text in [
            "breakglass #ward-7 ETREAT \"cardiac arrest, bed 4\"",
            "  BreakGlass  #ward-7   ETREAT cardiac arrest, bed 4 ",
            "!break-glass #ward-7:h1.example ETREAT “cardiac arrest, bed 4”",
            "/breakglass\n#ward-7\nETREAT\n„cardiac arrest, bed 4“",
        ] {
            let Command::Begin { room, reason } = read(text) else { panic!("{text}") };
            assert_eq!((room.as_str(), reason.code.as_str()), ("#ward-7:h1.example", "ETREAT"), "{text}");
            assert_eq!(reason.text, "cardiac arrest, bed 4", "{text}");
        }
        assert!(matches!(read("breakglass !abc BTG because"), Command::Begin { .. }));
        assert!(matches!(read("end !abc:h2.example"), Command::End { .. }));
    }

    #[test]
    fn what_is_missing_is_said() {
        for text in
            ["breakglass", "breakglass ward-7 ETREAT x", "breakglass # BTG x", "breakglass #a BTG", "end", "end x"]
        {
            assert!(matches!(read(text), Command::Wrong(_)), "{text}");
        }
        for text in ["", "hello", "help", "?"] {
            assert_eq!(read(text), Command::Help, "{text}");
        }
        assert_eq!(read("status"), Command::Status);
        assert!(matches!(read(&"x".repeat(100_000)), Command::Wrong(_)));
    }

    #[test]
    fn one_pair_of_quotation_marks_goes() {
        assert_eq!((unquoted("\"a\""), unquoted("\""), unquoted("\"\"")), ("a", "\"", ""));
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(text in ".*") {
            read(&text);
            let begun = read(&format!("breakglass #a:b.example X {text}"));
            let understood = matches!(begun, Command::Begin { .. } | Command::Wrong(_));
            prop_assert!(understood);
        }
    }
}
