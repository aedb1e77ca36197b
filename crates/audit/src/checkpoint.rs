//! Checkpoints: what the trail was at a size, signed (C2SP `tlog-checkpoint`), each with the hash of the one before.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{
    note::{Note, NoteError, NoteKey, NoteSigner},
    tree::Hash,
};

/// What stands before the hash of the checkpoint before.
const PREVIOUS: &str = "previous ";

/// What the trail was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose trail: the name of the log.
    pub origin: String,
    /// Records, from the first on.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// Hash of the text of the checkpoint before; none for the first.
    pub previous: Option<Hash>,
}

/// The name of a server's log.
pub fn origin_of(server_name: &str) -> String {
    format!("{server_name}/wardroom/audit")
}

fn hash(base64: &str) -> Option<Hash> {
    STANDARD.decode(base64).ok()?.try_into().ok()
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { origin, size, root, previous } = self;
        let mut text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        if let Some(previous) = previous {
            text = format!("{text}{PREVIOUS}{}\n", STANDARD.encode(previous));
        }
        text
    }

    /// SHA-256 of the text: what the next checkpoint names.
    pub fn hash(&self) -> Hash {
        Sha256::digest(self.text()).into()
    }

    /// The checkpoint, signed.
    pub fn signed(&self, signer: &NoteSigner) -> Note {
        signer.sign(self.text())
    }

    /// The checkpoint that is the text of a note.
    ///
    /// # Errors
    /// When the text is none.
    pub fn of_text(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (origin, size, root, previous) = (line(), line(), line(), line());
        let read = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| NoteError::Form)?,
            root: hash(root).ok_or(NoteError::Form)?,
            previous: previous.strip_prefix(PREVIOUS).and_then(hash),
        };
        // Any other text of the same meaning is not what was signed.
        if read.text() == text && !origin.is_empty() { Ok(read) } else { Err(NoteError::Form) }
    }

    /// The checkpoint of a note that this key of its log signed.
    ///
    /// # Errors
    /// When it is none, is of another log, or was not signed by the key.
    pub fn checked(note: &Note, key: &NoteKey) -> Result<Self, NoteError> {
        let read = Self::of_text(&note.text)?;
        key.check(note)?;
        if read.origin == key.name { Ok(read) } else { Err(NoteError::Form) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, origin_of};
    use crate::{
        note::{Note, NoteSigner},
        tree::leaf_hash,
    };

    #[test]
    fn a_checkpoint_survives_its_note_and_names_the_one_before() {
        let signer = NoteSigner::new(origin_of("a.example"), &[1; 32]);
        let first = Checkpoint { origin: origin_of("a.example"), size: 1, root: leaf_hash(b"a"), previous: None };
        let second = Checkpoint { size: 7, previous: Some(first.hash()), ..first.clone() };
        for checkpoint in [&first, &second] {
            let note = Note::parse(&checkpoint.signed(&signer).to_string()).unwrap();
            assert_eq!(Checkpoint::checked(&note, signer.key()), Ok(checkpoint.clone()));
        }
        let other = NoteSigner::new(origin_of("b.example"), &[1; 32]);
        assert!(Checkpoint::checked(&first.signed(&other), other.key()).is_err(), "another's log");
        for text in ["", "a\n01\n\n", "a.example\n1\nbad\n"] {
            assert!(Checkpoint::of_text(text).is_err(), "{text:?}");
        }
        assert!(Checkpoint::of_text(&(first.text() + "more\n")).is_err());
    }
}
