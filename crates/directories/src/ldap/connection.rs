//! A connection to a directory, for one reading of it.

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{
    ber::{LENGTH_BYTES_MAX, SEQUENCE, length},
    filter::LdapFilter,
    message::{self, BOUND, EXTENDED_DONE, Entry, Found, Scope, Search},
};
use crate::Fault;

/// Longest message of a directory: 16 MiB, a group of some 150,000 members.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What one reading takes in at most: 256 MiB.
const READING_BYTES_MAX: usize = 256 << 20;
/// Values that are kept at most of entries of one page that did not come whole.
const KEPT_VALUES_MAX: usize = 1_000_000;
/// Entries that one search gives at most.
const ENTRIES_MAX: usize = 500_000;
/// Pages that one search has at most, empty ones included.
const PAGES_MAX: usize = 20_000;
/// How often the rest of the values of one attribute is asked for.
const RANGES_MAX: usize = 1_000;
const PORT: u16 = 389;
const TLS_PORT: u16 = 636;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a directory is and how it is spoken to.
#[derive(Debug)]
pub(crate) struct Address<'a> {
    pub(crate) url: &'a Url,
    pub(crate) start_tls: bool,
    pub(crate) tls: &'a Arc<ClientConfig>,
    /// For the connection, and for each piece of an answer.
    pub(crate) timeout: Duration,
}

/// A connection. It does one thing after the other.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    timeout: Duration,
    last_id: i32,
    taken_bytes: usize,
}

impl Connection {
    pub(crate) async fn open(address: &Address<'_>) -> Result<Self, Fault> {
        within(address.timeout, Self::connect(address)).await
    }

    async fn connect(address: &Address<'_>) -> Result<Self, Fault> {
        let Address { url, start_tls, tls, timeout } = address;
        let secure = url.scheme() == "ldaps";
        let host = url.host_str().unwrap_or("localhost").trim_matches(['[', ']']);
        let port = url.port().unwrap_or(if secure { TLS_PORT } else { PORT });
        let stream = TcpStream::connect((host, port)).await.map_err(Fault::Unreachable)?;
        let over = |stream: Box<dyn Stream>, last_id| Self {
            stream: BufReader::new(stream),
            timeout: *timeout,
            last_id,
            taken_bytes: 0,
        };
        if !secure && !start_tls {
            return Ok(over(Box::new(stream), 0));
        }
        let mut stream = stream;
        let id = if *start_tls { 1 } else { 0 };
        if *start_tls {
            stream.write_all(&message::start_tls(id)).await.map_err(Fault::Unreachable)?;
            // Not a byte beyond the answer is read before TLS begins: whoever is on the way could have put it there.
            let (answer, _) = read_message(&mut stream, MESSAGE_BYTES_MAX).await?;
            message::done(id, EXTENDED_DONE, "StartTLS", &answer)?;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Fault::Malformed("a host name"))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(Fault::Tls)?;
        Ok(over(Box::new(stream), id))
    }

    /// Says who asks.
    pub(crate) async fn bind(&mut self, name: &str, password: &[u8]) -> Result<(), Fault> {
        let id = self.next_id();
        self.send(&message::bind(id, name, password)).await?;
        let answer = self.receive().await?;
        message::done(id, BOUND, "the bind", &answer)
    }

    /// Everything that a search finds, page by page, with all values of each attribute.
    ///
    /// # Errors
    /// Whenever it is not certain that this is everything.
    pub(crate) async fn search(
        &mut self,
        search: &Search,
        page_size: i32,
        mut each: impl FnMut(Entry),
    ) -> Result<(), Fault> {
        let (mut cookie, mut entries) = (Vec::new(), 0_usize);
        for _ in 0..PAGES_MAX {
            let (mut incomplete, mut kept) = (Vec::new(), 0_usize);
            let sort = |entry: Entry| {
                entries += 1;
                if entries > ENTRIES_MAX {
                    return Err(Fault::TooMuch("entries", ENTRIES_MAX));
                }
                if entry.is_whole() {
                    each(entry);
                    return Ok(());
                }
                kept += entry.attributes.iter().map(|attribute| attribute.values.len()).sum::<usize>();
                incomplete.push(entry);
                if kept > KEPT_VALUES_MAX { Err(Fault::TooMuch("values", KEPT_VALUES_MAX)) } else { Ok(()) }
            };
            let next = self.page(search, (page_size, &cookie), sort).await?;
            for mut entry in incomplete {
                self.complete(&mut entry).await?;
                each(entry);
            }
            match next {
                Some(next) => cookie = next,
                None => return Ok(()),
            }
        }
        Err(Fault::TooMuch("pages", PAGES_MAX))
    }

    /// Hands the entries of a page on. Returns what the next one is asked for by.
    async fn page(
        &mut self,
        search: &Search,
        page: (i32, &[u8]),
        mut each: impl FnMut(Entry) -> Result<(), Fault>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let id = self.next_id();
        self.send(&message::search(id, search, page)).await?;
        loop {
            match message::found(id, &self.receive().await?)? {
                Found::Entry(entry) => each(entry)?,
                Found::Aside => {}
                Found::End(cookie) => return Ok(cookie),
            }
        }
    }

    /// Fetches the values that the directory did not send at once.
    async fn complete(&mut self, entry: &mut Entry) -> Result<(), Fault> {
        for index in 0..entry.attributes.len() {
            let mut rounds = 0;
            while let Some(attribute) = entry.attributes.get_mut(index)
                && let Some(from) = attribute.rest_from.take()
            {
                rounds += 1;
                if rounds > RANGES_MAX {
                    return Err(Fault::TooMuch("ranges of values", RANGES_MAX));
                }
                let wanted = format!("{};range={from}-*", attribute.name);
                let search = Search {
                    base: entry.name.clone(),
                    scope: Scope::Base,
                    filter: LdapFilter::everything(),
                    attributes: vec![wanted],
                };
                let mut found = None;
                let only = |entry: Entry| found.replace(entry).map_or(Ok(()), |_| Err(Fault::Partial));
                self.page(&search, (1, &[]), only).await?;
                let more = found.into_iter().flat_map(|entry: Entry| entry.attributes);
                let more = more.into_iter().find(|more| more.name == attribute.name && !more.values.is_empty());
                // The entry changed in between, or the directory does not say what it promised.
                let more = more.ok_or(Fault::Partial)?;
                attribute.values.extend(more.values);
                attribute.rest_from = more.rest_from;
            }
        }
        Ok(())
    }

    /// Says goodbye, as far as somebody listens.
    pub(crate) async fn close(mut self) {
        let id = self.next_id();
        if self.send(&message::unbind(id)).await.is_ok() {
            let _ = within(self.timeout, async { self.stream.shutdown().await.map_err(Fault::Unreachable) }).await;
        }
    }

    fn next_id(&mut self) -> i32 {
        // Fewer are used in one reading than there are.
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.last_id
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        let stream = &mut self.stream;
        within(self.timeout, async {
            stream.write_all(message).await.map_err(Fault::Unreachable)?;
            stream.flush().await.map_err(Fault::Unreachable)
        })
        .await
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        let left = READING_BYTES_MAX - self.taken_bytes;
        if left == 0 {
            return Err(Fault::TooMuch("bytes", READING_BYTES_MAX));
        }
        let read = read_message(&mut self.stream, MESSAGE_BYTES_MAX.min(left));
        let (message, bytes) = within(self.timeout, read).await?;
        self.taken_bytes = (self.taken_bytes + bytes).min(READING_BYTES_MAX);
        Ok(message)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Fault::TimedOut(limit)))
}

/// The content of a message, and how many bytes it took.
async fn read_message(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<(Vec<u8>, usize), Fault> {
    let mut head = [0; 2];
    read(stream, &mut head).await?;
    let [tag, first] = head;
    if tag != SEQUENCE {
        return Err(Fault::Malformed("something that is no message"));
    }
    let mut size = usize::from(first);
    if first >= 0x80 {
        let mut digits = [0; LENGTH_BYTES_MAX];
        let digits = digits.get_mut(..size - 0x80).ok_or(Fault::Malformed("a length that LDAP does not have"))?;
        read(stream, digits).await?;
        size = length(digits)?;
    }
    if size > bytes_max {
        return Err(Fault::TooMuch("bytes", bytes_max));
    }
    // Room is made as bytes come, not as they are promised.
    let mut content = Vec::new();
    let promised = u64::try_from(size).unwrap_or(u64::MAX);
    stream.take(promised).read_to_end(&mut content).await.map_err(ended)?;
    if content.len() < size { Err(Fault::Ended) } else { Ok((content, size + head.len())) }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Result<(), Fault> {
    stream.read_exact(into).await.map(drop).map_err(ended)
}

fn ended(error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof { Fault::Ended } else { Fault::Unreachable(error) }
}
