//! Local parts of ids of users whom another system names.

use std::fmt::Write as _;

/// A localpart for a name of other character sets (appendix "Mapping from other character sets"): capitals become small,
/// every other byte that a localpart may not have is written as `=` and its hexadecimal digits. So is an underscore at
/// the beginning, behind which application services have their users.
pub fn localpart_of(name: &str) -> String {
    let mut localpart = String::with_capacity(name.len());
    for (index, byte) in name.to_lowercase().bytes().enumerate() {
        match byte {
            b'_' if index == 0 => localpart.push_str("=5f"),
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' | b'+' => localpart.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(localpart, "={byte:02x}")),
        }
    }
    localpart
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::UserId;

    use super::localpart_of;

    #[test]
    fn names_are_mapped_as_the_appendix_says() {
        for (name, localpart) in [
            ("alice", "alice"),
            ("Alice.Smith", "alice.smith"),
            ("alice@hospital.example", "alice=40hospital.example"),
            ("Müller", "m=c3=bcller"),
            ("a=b", "a=3db"),
            ("_irc_x", "=5firc_x"),
            ("a b:c", "a=20b=3ac"),
        ] {
            assert_eq!(localpart_of(name), localpart);
        }
    }

    proptest! {
        #[test]
        fn every_name_becomes_a_valid_localpart(name in "\\PC{1,15}") {
            let id = UserId::parse(format!("@{}:a.example", localpart_of(&name))).unwrap();
            prop_assert!(id.validate_strict().is_ok());
        }

        #[test]
        fn names_that_differ_in_more_than_case_stay_different(one in "[a-z=@_ü. ]{1,12}", two in "[a-z=@_ü. ]{1,12}") {
            prop_assert_eq!(one == two, localpart_of(&one) == localpart_of(&two));
        }
    }
}
