//! `multipart/mixed`, as servers send media (RFC 2046, section 5.1), read piece by piece.
//!
//! What is read comes from another server: headers have a limit, bodies are passed on as they come, and nothing is kept
//! but what may still be the beginning of a boundary.

/// Longest boundary, in bytes (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest headers of a part, in bytes.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a part.
const HEADERS_MAX: usize = 32;
/// What may stand before the first part, in bytes.
const PREAMBLE_BYTES_MAX: usize = 16 * 1024;

/// The answer is no `multipart/mixed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// Headers of a part that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) content_type: Option<String>,
    /// As it came: names in it may have any encoding.
    pub(super) content_disposition: Option<Vec<u8>>,
    pub(super) location: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A part begins.
    Part(Headers),
    /// More of its body.
    Body(Vec<u8>),
    /// The part ends.
    PartEnd,
    /// There are no more parts.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Boundary,
    Headers,
    /// Behind the empty line after the headers, whose end may be the one that belongs to a boundary.
    Beginning,
    Body,
    End,
}

/// Reads parts. Bytes go in with [`Multipart::push`], pieces come out of [`Multipart::next`].
#[derive(Debug)]
pub(super) struct Multipart {
    /// The boundary with what stands before it.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
    /// Bytes of the preamble that are gone.
    skipped: usize,
    /// No more bytes come.
    complete: bool,
}

impl Multipart {
    /// A reader for an answer whose header `Content-Type` is this.
    pub(super) fn new(content_type: &str) -> Result<Self, Malformed> {
        let boundary = boundary(content_type).ok_or(Malformed("the answer is no multipart/mixed"))?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first boundary needs no line before it: this one is put there.
        Ok(Self { delimiter, buffer: b"\r\n".to_vec(), state: State::Preamble, skipped: 0, complete: false })
    }

    /// Takes bytes that came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// No more bytes come.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// The next piece; none until there are more bytes.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Malformed> {
        loop {
            let before = (self.state, self.buffer.len());
            let piece = match self.state {
                State::Preamble => self.preamble().map(|()| None)?,
                State::Boundary => self.boundary()?,
                State::Headers => self.headers()?,
                State::Beginning => self.beginning(),
                State::Body => self.body(),
                State::End => return Ok(Some(Piece::End)),
            };
            if piece.is_some() {
                return Ok(piece);
            }
            if before == (self.state, self.buffer.len()) {
                return if self.complete { Err(Malformed("the answer breaks off")) } else { Ok(None) };
            }
        }
    }

    /// Skips to the first boundary.
    fn preamble(&mut self) -> Result<(), Malformed> {
        let drop = match find(&self.buffer, &self.delimiter) {
            Some(at) => {
                self.state = State::Boundary;
                at + self.delimiter.len()
            }
            None => self.buffer.len().saturating_sub(self.delimiter.len() - 1),
        };
        self.skipped += drop;
        self.buffer.drain(..drop);
        match self.state {
            State::Preamble if self.skipped > PREAMBLE_BYTES_MAX => Err(Malformed("the answer has no parts")),
            _ => Ok(()),
        }
    }

    /// Behind a boundary: two hyphens end it all, a line's end begins a part.
    fn boundary(&mut self) -> Result<Option<Piece>, Malformed> {
        // Some end with the bare boundary.
        if self.buffer.starts_with(b"--") || (self.complete && self.buffer.is_empty()) {
            self.state = State::End;
            self.buffer = Vec::new();
            return Ok(Some(Piece::End));
        }
        let Some(end) = find(&self.buffer, b"\n") else {
            let undecided = self.buffer.len() < HEADERS_BYTES_MAX;
            return if undecided { Ok(None) } else { Err(Malformed("a boundary does not end")) };
        };
        if !self.buffer[..end].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return Err(Malformed("a boundary does not end where it has to"));
        }
        self.buffer.drain(..=end);
        self.state = State::Headers;
        Ok(None)
    }

    fn headers(&mut self) -> Result<Option<Piece>, Malformed> {
        let mut headers = Headers::default();
        let (mut from, mut count) = (0, 0);
        loop {
            let Some(length) = find(&self.buffer[from..], b"\n") else {
                let undecided = self.buffer.len() <= HEADERS_BYTES_MAX;
                return if undecided { Ok(None) } else { Err(Malformed("the headers of a part are too long")) };
            };
            let line = &self.buffer[from..from + length];
            from += length + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            count += 1;
            if count > HEADERS_MAX || from > HEADERS_BYTES_MAX {
                return Err(Malformed("a part has too many headers"));
            }
            headers.take(line);
        }
        self.buffer.drain(..from);
        self.state = State::Beginning;
        Ok(Some(Piece::Part(headers)))
    }

    /// A part without a body ends at once.
    fn beginning(&mut self) -> Option<Piece> {
        let line = &self.delimiter[2..];
        if self.buffer.starts_with(line) {
            self.buffer.drain(..line.len());
            self.state = State::Boundary;
            return Some(Piece::PartEnd);
        }
        if self.complete || !line.starts_with(&self.buffer) {
            self.state = State::Body;
        }
        None
    }

    fn body(&mut self) -> Option<Piece> {
        let (end, found) = match find(&self.buffer, &self.delimiter) {
            Some(at) => (at, true),
            // What may be the beginning of a boundary stays.
            None => (self.buffer.len().saturating_sub(self.delimiter.len() - 1), false),
        };
        if end > 0 {
            return Some(Piece::Body(self.buffer.drain(..end).collect()));
        }
        if found {
            self.buffer.drain(..self.delimiter.len());
            self.state = State::Boundary;
            return Some(Piece::PartEnd);
        }
        None
    }
}

impl Headers {
    /// Takes one line; what is none, or another header, is passed over.
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let text = || String::from_utf8(value.to_vec()).ok();
        if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type = text();
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            self.content_disposition = Some(value.to_vec());
        } else if name.eq_ignore_ascii_case(b"location") {
            self.location = text();
        }
    }
}

fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    let (first, rest) = sought.split_first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The boundary that a `Content-Type` names, if it is one of `multipart/mixed`.
fn boundary(content_type: &str) -> Option<String> {
    let (essence, mut rest) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    loop {
        let (name, behind) = rest.split_once('=')?;
        let (value, next) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = quoted.split_once('"')?;
                (value, behind.trim_start().strip_prefix(';').unwrap_or_default())
            }
            None => {
                let (value, next) = behind.split_once(';').unwrap_or((behind, ""));
                (value.trim(), next)
            }
        };
        if name.trim().eq_ignore_ascii_case("boundary") {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
            let good = !value.is_empty()
                && value.len() <= BOUNDARY_BYTES_MAX
                && value.bytes().all(allowed)
                && !value.ends_with(' ');
            return good.then(|| value.to_owned());
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/mixed; boundary=gc0p4Jq0M2Yt08jU534c0p";

    /// The parts of an answer that comes in pieces of this length.
    fn parts(content_type: &str, bytes: &[u8], length: usize) -> Result<Vec<(Headers, Vec<u8>)>, Malformed> {
        let mut reader = Multipart::new(content_type)?;
        let mut chunks = bytes.chunks(length.max(1));
        let mut parts: Vec<(Headers, Vec<u8>)> = Vec::new();
        loop {
            match reader.next()? {
                Some(Piece::Part(headers)) => parts.push((headers, Vec::new())),
                Some(Piece::Body(more)) => parts.last_mut().unwrap().1.extend(more),
                Some(Piece::PartEnd) => {}
                Some(Piece::End) => return Ok(parts),
                None => match chunks.next() {
                    Some(chunk) => reader.push(chunk),
                    None => reader.complete(),
                },
            }
            assert!(reader.buffer.len() <= length + HEADERS_BYTES_MAX + 200);
        }
    }

    fn answer(body: &[u8]) -> Vec<u8> {
        let head = "--gc0p4Jq0M2Yt08jU534c0p\r\nContent-Type: application/json\r\n\r\n{}\r\n\
                    --gc0p4Jq0M2Yt08jU534c0p\r\ncontent-TYPE: text/plain\r\n\
                    Content-Disposition: inline; filename=\"a.txt\"\r\n\r\n";
        [head.as_bytes(), body, b"\r\n--gc0p4Jq0M2Yt08jU534c0p--\r\n"].concat()
    }

    #[test]
    fn the_parts_come_out_however_the_bytes_come_in() {
        for body in [&b"hello"[..], b"", b"\r\n", b"\r\n--gc0p4Jq0M2Yt08jU534c0", b"-"] {
            let answer = answer(body);
            for length in [1, 2, 3, 7, 64, 10_000] {
                let parts = parts(TYPE, &answer, length).unwrap();
                assert_eq!(parts.len(), 2, "{length}");
                assert_eq!(parts[0].1, b"{}");
                assert_eq!(parts[1].1, body, "{length}");
                assert_eq!(parts[1].0.content_type.as_deref(), Some("text/plain"));
                assert_eq!(parts[1].0.content_disposition.as_deref(), Some(&b"inline; filename=\"a.txt\""[..]));
            }
        }
    }

    #[test]
    fn other_servers_write_it_in_their_own_ways() {
        let kind = "Multipart/Mixed; charset=\"x;y\"; Boundary=\"abc def\"";
        // A preamble, bare line feeds between headers, and no hyphens at the end.
        let answer =
            b"preamble\r\n--abc def  \r\n\r\n{}\r\n--abc def\nLocation: https://cdn.example/a\n\n\r\n--abc def";
        let read = parts(kind, answer, 5).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].0.location.as_deref(), Some("https://cdn.example/a"));
        // Parts without headers or body.
        let read = parts("multipart/mixed;boundary=x", b"--x\r\n\r\n--x\n\n\r\n--x--", 3).unwrap();
        assert_eq!(read, [(Headers::default(), Vec::new()), (Headers::default(), Vec::new())]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for kind in ["", "multipart/mixed", "text/html; boundary=x", "multipart/mixed; boundary=", "multipart/mixed;x"]
        {
            assert!(Multipart::new(kind).is_err(), "{kind}");
        }
        assert!(Multipart::new(&format!("multipart/mixed; boundary={}", "x".repeat(71))).is_err());
        let whole = answer(b"hello");
        for cut in [0, 10, 60, 100, whole.len() - 30, whole.len() - 5] {
            assert!(parts(TYPE, &whole[..cut], 50).is_err(), "{cut}");
        }
        let kind = "multipart/mixed; boundary=x";
        assert!(parts(kind, &[b"--x\r\n".to_vec(), vec![b'a'; 40_000]].concat(), 1_000).is_err());
        assert!(parts(kind, &[b"--x\r\n".to_vec(), b"a: b\r\n".repeat(40)].concat(), 1_000).is_err());
        assert!(parts(kind, &[b' '; 40_000], 1_000).is_err());
        assert!(parts(kind, &[b"--x".to_vec(), vec![b' '; 40_000]].concat(), 1_000).is_err());
    }

    proptest! {
        #[test]
        fn every_body_comes_back(body: Vec<u8>, length in 1_usize..100) {
            let parts = parts(TYPE, &answer(&body), length).unwrap();
            prop_assert_eq!(&parts[1].1, &body);
        }

        #[test]
        fn whatever_comes_it_ends(bytes in "[x\r\n: -]{0,200}", length in 1_usize..20) {
            let _ = parts("multipart/mixed; boundary=x", bytes.as_bytes(), length);
        }
    }
}
