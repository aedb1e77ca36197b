//! Writing a sealed file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    sync::Arc,
};

use zeroize::Zeroizing;

use super::{Blobs, Claim, NEW_DIR, NewBlob, PIECE_CHUNKS, hex};
use crate::{
    MediaError,
    keys::FileKeys,
    seal::{self, CHUNK_BYTES, Cipher, KEY_BYTES, SEALED_CHUNK_BYTES},
    tables::BlobRow,
};

/// Content that is sealed and written at once.
const PIECE_BYTES: usize = PIECE_CHUNKS * CHUNK_BYTES;

/// The free space is looked up again after so many pieces: 16 MiB.
const SPACE_CHECK_PIECES: u64 = 64;

/// A file that is being written. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    claim: Claim,
    number: u64,
    key: Zeroizing<[u8; KEY_BYTES]>,
    cipher: Arc<Cipher>,
    /// None while a piece is being written, and after that failed.
    file: Option<File>,
    /// What is not written yet. The last chunk is sealed differently, so at least one byte is held back.
    buffer: Vec<u8>,
    pieces: u64,
    length: u64,
}

impl BlobWriter {
    /// Begins a file of the media of this number.
    pub(crate) async fn create(blobs: &Blobs, number: u64) -> Result<Self, MediaError> {
        let mut claim = blobs.claim();
        let key = seal::new_key();
        let cipher = Arc::new(Cipher::new(&key));
        let path = blobs.0.dir.join(NEW_DIR).join(hex(&claim.name));
        claim.remove = Some(path.clone());
        let blobs = blobs.clone();
        let create = move || {
            if !blobs.has_space() {
                return Err(MediaError::DiskFull);
            }
            Ok(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?)
        };
        let file = Some(tokio::task::spawn_blocking(create).await??);
        Ok(Self { claim, number, key, cipher, file, buffer: Vec::new(), pieces: 0, length: 0 })
    }

    /// Bytes of content so far.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Appends content.
    pub(crate) async fn write(&mut self, mut content: &[u8]) -> Result<(), MediaError> {
        while !content.is_empty() {
            if self.buffer.len() == PIECE_BYTES {
                self.write_piece(false).await?;
            }
            let (now, later) = content.split_at(content.len().min(PIECE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            self.length += now.len() as u64;
            content = later;
        }
        Ok(())
    }

    /// Completes the file, makes it durable and puts it in its place; meanwhile the data key is made, where it is not there.
    pub(crate) async fn finish(self, keys: &FileKeys) -> Result<NewBlob, MediaError> {
        let number = self.number;
        match tokio::join!(self.complete(), keys.of(number)) {
            (Ok((row, key, claim)), Ok(sealed_with)) => Ok(NewBlob { row, key, sealed_with, claim }),
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
        }
    }

    async fn complete(mut self) -> Result<(BlobRow, Zeroizing<[u8; KEY_BYTES]>, Claim), MediaError> {
        self.write_piece(true).await?;
        let file = self.file.take().ok_or(MediaError::Stopped)?;
        let row = BlobRow { name: self.claim.name, number: self.number, length: self.length };
        let (key, mut claim) = (self.key, self.claim);
        let place = move || {
            let blobs = &claim.blobs;
            if blobs.0.sync {
                file.sync_all()?;
            }
            let path = blobs.path(&claim.name);
            let dir = path.parent().unwrap_or(&blobs.0.dir);
            blobs.make_dir(&claim.name, dir)?;
            if let Some(from) = &claim.remove {
                fs::rename(from, &path)?;
            }
            blobs.sync_dir(dir)?;
            claim.remove = Some(path);
            Ok::<_, io::Error>(claim)
        };
        let claim = tokio::task::spawn_blocking(place).await??;
        Ok((row, key, claim))
    }

    /// Seals and writes what is in the buffer: whole chunks, or all there is at the end.
    async fn write_piece(&mut self, last: bool) -> Result<(), MediaError> {
        let mut file = self.file.take().ok_or(MediaError::Stopped)?;
        let mut content = std::mem::take(&mut self.buffer);
        let (cipher, first) = (Arc::clone(&self.cipher), self.pieces * PIECE_CHUNKS as u64);
        let blobs = self.claim.blobs.clone();
        let check_space = self.pieces % SPACE_CHECK_PIECES == SPACE_CHECK_PIECES - 1;
        let write = move || {
            if check_space && !blobs.has_space() {
                return Err(MediaError::DiskFull);
            }
            let mut sealed = Vec::with_capacity(PIECE_CHUNKS * SEALED_CHUNK_BYTES);
            let chunks = content.len().div_ceil(CHUNK_BYTES).max(1);
            for index in 0..chunks {
                let chunk = &content[index * CHUNK_BYTES..content.len().min((index + 1) * CHUNK_BYTES)];
                cipher.seal(first + index as u64, last && index + 1 == chunks, chunk, &mut sealed)?;
            }
            file.write_all(&sealed)?;
            content.clear();
            Ok((file, content))
        };
        let (file, buffer) = tokio::task::spawn_blocking(write).await??;
        (self.file, self.buffer) = (Some(file), buffer);
        self.pieces += 1;
        Ok(())
    }
}
