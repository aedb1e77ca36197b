//! Reading a sealed file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;

use super::{Blobs, PIECE_CHUNKS};
use crate::{
    MediaError,
    seal::{self, CHUNK_BYTES, Cipher, KEY_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES},
    tables::BlobRow,
};

/// A part of a file's content, piece by piece.
#[derive(Debug)]
pub(crate) struct BlobReader {
    file: Arc<File>,
    cipher: Arc<Cipher>,
    /// Length of the whole content.
    length: u64,
    /// What is not read yet.
    left: Range<u64>,
}

impl BlobReader {
    /// Begins to read a part of the content, which must lie within it.
    pub(crate) async fn open(
        blobs: &Blobs,
        row: &BlobRow,
        key: &[u8; KEY_BYTES],
        range: Range<u64>,
    ) -> Result<Self, MediaError> {
        let (path, length) = (blobs.path(&row.name), row.length);
        let open = move || {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Its media was deleted since the row was read, or the directory was not restored with the store.
                    tracing::warn!("a media file is missing");
                    return Err(MediaError::NotFound);
                }
                file => file?,
            };
            // Chunks cut off would be noticed by whoever reads the last one; others shall not read the rest either.
            if file.metadata()?.len() == seal::sealed_length(length) { Ok(file) } else { Err(MediaError::Damaged) }
        };
        let file = Arc::new(tokio::task::spawn_blocking(open).await??);
        let left = range.start.min(length)..range.end.min(length);
        Ok(Self { file, cipher: Arc::new(Cipher::new(key)), length, left })
    }

    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, MediaError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let (file, cipher) = (Arc::clone(&self.file), Arc::clone(&self.cipher));
        let (length, left) = (self.length, self.left.clone());
        let piece = tokio::task::spawn_blocking(move || read_piece(&file, &cipher, length, &left)).await??;
        self.left.start += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// Reads the beginning of `wanted`, which is not empty.
fn read_piece(file: &File, cipher: &Cipher, length: u64, wanted: &Range<u64>) -> Result<Bytes, MediaError> {
    let chunk_bytes = CHUNK_BYTES as u64;
    let count = seal::chunks(length);
    let first = wanted.start / chunk_bytes;
    let end = wanted.end.div_ceil(chunk_bytes).min(first + PIECE_CHUNKS as u64).min(count);
    let mut content = Vec::with_capacity(PIECE_CHUNKS * CHUNK_BYTES);
    let mut sealed = [0; SEALED_CHUNK_BYTES];
    for index in first..end {
        let content_bytes = chunk_bytes.min(length - index * chunk_bytes);
        let sealed_bytes = usize::try_from(content_bytes).map_err(|_| MediaError::Damaged)? + TAG_BYTES;
        let sealed = &mut sealed[..sealed_bytes];
        file.read_exact_at(sealed, index * SEALED_CHUNK_BYTES as u64)?;
        content.extend_from_slice(cipher.open(index, index + 1 == count, sealed)?);
    }
    let mut piece = Bytes::from(content);
    let from = usize::try_from(wanted.start - first * chunk_bytes).map_err(|_| MediaError::Damaged)?;
    let piece_end = usize::try_from(wanted.end - first * chunk_bytes).unwrap_or(usize::MAX).min(piece.len());
    piece.truncate(piece_end);
    Ok(piece.slice(from..))
}
