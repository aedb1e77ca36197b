//! Signed notes (C2SP `signed-note`), in which checkpoints are published.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// What stands before each signature.
const MARK: &str = "\u{2014} ";
/// Longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Most signatures of a note.
const SIGNATURES_MAX: usize = 100;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes of its own log, with Ed25519.
    Log,
    /// Checkpoints of others, with the time (`tlog-cosignature`, `cosignature/v1`).
    Witness,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Log, Self::Witness].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// What is wrong with a note or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is none.
    #[error("this is no signed note")]
    Form,
    /// The text of a key is none.
    #[error("this is no key of a signed note")]
    Key,
    /// The key did not sign it.
    #[error("there is no signature of this key")]
    Unsigned,
    /// A signature that names the key is not by it.
    #[error("the signature is wrong")]
    Signature,
}

/// A public key with its name. Its text is `<name>+<key id>+<key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    /// Whose key it is.
    pub name: String,
    /// What it signs.
    pub kind: KeyKind,
    key: VerifyingKey,
}

/// The key that signs, with its name.
#[derive(Clone)]
pub struct NoteSigner {
    secret: SigningKey,
    public: NoteKey,
}

/// A signature of a note: whose, and the key id with the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    name: String,
    bytes: Vec<u8>,
}

/// A text and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text; it ends with a line break.
    pub text: String,
    signatures: Vec<Signed>,
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl NoteKey {
    fn new(name: String, kind: KeyKind, key: VerifyingKey) -> Self {
        Self { name, kind, key }
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The same key of another kind.
    #[must_use]
    pub fn for_kind(&self, kind: KeyKind) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The number by which signatures name the key.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', self.kind.byte()]);
        let hash: [u8; 32] = hash.chain_update(self.key.as_bytes()).finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The key of a text.
    ///
    /// # Errors
    /// When it is none, or its id is not the one of the key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (kind, key) = bytes.split_first().ok_or(NoteError::Key)?;
        let kind = KeyKind::of_byte(*kind).ok_or(NoteError::Key)?;
        let key: &[u8; 32] = key.try_into().map_err(|_| NoteError::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        let read = Self::new(name.to_owned(), kind, key);
        let good = is_name(name) && id.len() == 8 && read.to_string() == text;
        if good { Ok(read) } else { Err(NoteError::Key) }
    }

    /// Checks the signature of this key below a note; when it was made, in seconds since 1970, where the kind says so.
    ///
    /// # Errors
    /// When there is none, or it is wrong.
    pub fn check(&self, note: &Note) -> Result<Option<u64>, NoteError> {
        let id = self.id();
        let mine = |signed: &&Signed| signed.name == self.name && signed.bytes.starts_with(&id);
        let signed = note.signatures.iter().find(mine).ok_or(NoteError::Unsigned)?;
        let bytes = signed.bytes.get(id.len()..).unwrap_or_default();
        let (time, bytes, message) = match self.kind {
            KeyKind::Log => (None, bytes, note.text.clone()),
            KeyKind::Witness => {
                let (time, bytes) = bytes.split_first_chunk().ok_or(NoteError::Signature)?;
                let time = u64::from_be_bytes(*time);
                (Some(time), bytes, cosigned(time, &note.text))
            }
        };
        let signature = Signature::from_slice(bytes).map_err(|_| NoteError::Signature)?;
        self.key.verify_strict(message.as_bytes(), &signature).map_err(|_| NoteError::Signature)?;
        Ok(time)
    }
}

/// What a witness signs.
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        let key = STANDARD.encode([&[self.kind.byte()], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{id:08x}+{key}", self.name)
    }
}

impl NoteSigner {
    /// The signer with this seed. A name has no spaces and no `+`.
    pub fn new(name: String, seed: &[u8; 32]) -> Self {
        let secret = SigningKey::from_bytes(seed);
        let public = NoteKey::new(name, KeyKind::Log, secret.verifying_key());
        Self { secret, public }
    }

    /// The key by which others check it.
    pub fn key(&self) -> &NoteKey {
        &self.public
    }

    /// A note of this text, which ends with a line break, signed.
    pub fn sign(&self, text: String) -> Note {
        let signature = self.secret.sign(text.as_bytes()).to_bytes();
        let bytes = [self.public.id().as_slice(), &signature].concat();
        let signatures = vec![Signed { name: self.public.name.clone(), bytes }];
        Note { text, signatures }
    }

    /// The line by which this witness says that it saw that text at that time, in seconds since 1970.
    pub fn cosign(&self, text: &str, time: u64) -> String {
        let key = self.public.for_kind(KeyKind::Witness);
        let signature = self.secret.sign(cosigned(time, text).as_bytes()).to_bytes();
        let bytes = [key.id().as_slice(), &time.to_be_bytes(), &signature].concat();
        Signed { name: key.name, bytes }.to_string()
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoteSigner").field(&self.public.name).finish()
    }
}

impl Signed {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
        let bytes = STANDARD.decode(signature).ok().filter(|bytes| bytes.len() > 4)?;
        let signed = Self { name: name.to_owned(), bytes };
        is_name(name).then_some(signed)
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(&self.bytes))
    }
}

impl Note {
    /// The note in a text.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Option<Vec<Signed>> = lines.split('\n').map(Signed::parse).collect();
        let signatures = signatures.filter(|all| (1..=SIGNATURES_MAX).contains(&all.len())).ok_or(NoteError::Form)?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Adds the signature of a line, once.
    ///
    /// # Errors
    /// When it is none, or there are too many.
    pub fn add(&mut self, line: &str) -> Result<(), NoteError> {
        let signed = Signed::parse(line).ok_or(NoteError::Form)?;
        let id = signed.bytes[..4].to_vec();
        self.signatures.retain(|other| other.name != signed.name || !other.bytes.starts_with(&id));
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(NoteError::Form);
        }
        self.signatures.push(signed);
        Ok(())
    }

    /// Whether every signature is by one of these keys' names and ids.
    pub fn signed_only_by(&self, keys: &[NoteKey]) -> bool {
        let known =
            |signed: &Signed| keys.iter().any(|key| key.name == signed.name && signed.bytes.starts_with(&key.id()));
        self.signatures.iter().all(known)
    }

    /// Whether this key, or one that has its name and id, signed.
    pub fn names(&self, key: &NoteKey) -> bool {
        let id = key.id();
        self.signatures.iter().any(|signed| signed.name == key.name && signed.bytes.starts_with(&id))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signed| writeln!(f, "{signed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, Note, NoteError, NoteKey, NoteSigner};

    fn signer(name: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(name.to_owned(), &[seed; 32])
    }

    #[test]
    fn notes_and_keys_survive_their_text() {
        let log = signer("a.example:8448/wardroom/audit", 1);
        let witness = signer("b.example/wardroom/audit", 2);
        let mut note = log.sign("a\n1\nroot\n".to_owned());
        note.add(&witness.cosign(&note.text, 1_700_000_000)).unwrap();
        let read = Note::parse(&note.to_string()).unwrap();
        assert_eq!(read, note);
        let key = NoteKey::parse(&log.key().to_string()).unwrap();
        assert_eq!(key, *log.key());
        assert_eq!(key.check(&read), Ok(None));
        let cosigner = witness.key().for_kind(KeyKind::Witness);
        assert_eq!(cosigner.check(&read), Ok(Some(1_700_000_000)));
        assert_eq!(witness.key().check(&read), Err(NoteError::Unsigned), "a witness's signature is none of a log");
        assert!(read.signed_only_by(&[key.clone(), cosigner]) && !read.signed_only_by(&[key]));
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let log = signer("a.example", 1);
        let note = log.sign("a.example\n1\nroot\n".to_owned());
        let text = note.to_string();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let good = Note::parse(&changed).is_ok_and(|note| log.key().check(&note).is_ok());
                assert!(!good, "byte {at}, bit {bit}");
            }
        }
        let key = log.key().to_string();
        for at in 0..key.len() {
            for bit in 0..8 {
                let mut bytes = key.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(NoteKey::parse(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}
