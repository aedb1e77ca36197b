//! Syslog over TLS (RFC 5424, RFC 5425) with DICOM audit messages (IHE ITI-20).
//!
//! The protocol has no acknowledgement. That bytes were written says only that this machine has them, so a record counts as
//! delivered when the connection has lived on for [`SETTLE`] after it was written; the kernel ends a connection whose bytes
//! are not confirmed for [`UNCONFIRMED`], which is less. What was written later than that is written again on the next one.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wardroom_audit::Entry;

use super::{Feed, FeedError, tls};
use crate::syslog_message;

/// Records that are written at once.
const PAGE_RECORDS: usize = 200;
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a page may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long bytes may stay unconfirmed before the kernel ends the connection.
const UNCONFIRMED: Duration = Duration::from_secs(5);
/// How long the connection has to live on after a record was written.
const SETTLE: Duration = Duration::from_secs(8);
/// How often an idle connection is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A destination of syslog messages.
#[derive(Clone, Debug)]
pub struct SyslogFeed {
    /// Its name or address.
    pub host: String,
    /// Its port; 6514 by RFC 5425.
    pub port: u16,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// The certificate and key that this server shows, PEM files' contents.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

pub(super) struct SyslogSender {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

type Stream = TlsStream<TcpStream>;

/// What was written and may not have arrived.
#[derive(Debug, Default)]
struct Unsettled(VecDeque<(Instant, u64)>);

impl Unsettled {
    /// Up to which record everything has arrived by now, if that is news.
    fn settle(&mut self, now: Instant) -> Option<u64> {
        let mut settled = None;
        while let Some((written, next)) = self.0.front()
            && now.duration_since(*written) >= SETTLE
        {
            settled = Some(*next);
            self.0.pop_front();
        }
        settled
    }

    /// How long until there is something to settle.
    fn wait(&self, now: Instant) -> Duration {
        self.0.front().map_or(KEEP_ALIVE, |(written, _)| (*written + SETTLE).saturating_duration_since(now))
    }
}

impl SyslogSender {
    pub(super) fn new(feed: SyslogFeed) -> Result<Self, FeedError> {
        let SyslogFeed { host, port, extra_ca, client_certificate } = feed;
        let name = ServerName::try_from(host.clone()).map_err(|error| FeedError::Setting("host", error.to_string()))?;
        let tls = tls::client(&extra_ca, client_certificate.as_ref())?;
        Ok(Self { host, port, name, tls })
    }

    /// Writes what comes to one connection, until it fails.
    pub(super) async fn follow(&self, feed: &Feed, mut next: u64) -> Result<Infallible, FeedError> {
        let stream = timeout(CONNECT_LIMIT, self.connect()).await.map_err(|_| FeedError::Timeout)??;
        let (mut reading, mut writing) = split(stream);
        feed.succeeded();
        let mut unsettled = Unsettled::default();
        loop {
            let mut news = feed.news();
            let page = feed.page(next, PAGE_RECORDS).await?;
            if let Some(last) = page.last() {
                let frames = frames(&page, &feed.parts.server_name);
                timeout(WRITE_LIMIT, write(&mut writing, &frames)).await.map_err(|_| FeedError::Timeout)??;
                next = last.number.saturating_add(1);
                unsettled.0.push_back((Instant::now(), next));
                feed.succeeded();
            }
            if let Some(settled) = unsettled.settle(Instant::now()) {
                feed.advance(settled).await?;
            }
            if page.is_empty() {
                tokio::select! {
                    // A connection that has ended settles nothing.
                    biased;
                    error = closed(&mut reading) => return Err(error),
                    () = news.changed() => {}
                    () = sleep(unsettled.wait(Instant::now())) => {}
                }
            }
        }
    }

    async fn connect(&self) -> Result<Stream, FeedError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(FeedError::Connection)?;
        let socket = SockRef::from(&stream);
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(UNCONFIRMED);
        socket.set_tcp_keepalive(&keep_alive).map_err(FeedError::Connection)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNCONFIRMED)).map_err(FeedError::Connection)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(self.name.clone(), stream).await.map_err(FeedError::Connection)
    }
}

/// Messages with their lengths in bytes before them (RFC 5425, section 4.3).
fn frames(entries: &[Entry], server_name: &str) -> Vec<u8> {
    let mut frames = Vec::new();
    for entry in entries {
        let message = syslog_message(&entry.record, server_name);
        frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
        frames.extend_from_slice(message.as_bytes());
    }
    frames
}

async fn write(stream: &mut WriteHalf<Stream>, bytes: &[u8]) -> Result<(), FeedError> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    written.await.map_err(FeedError::Connection)
}

/// Ends with the connection. Receivers say nothing; what one says all the same is passed over.
async fn closed(stream: &mut ReadHalf<Stream>) -> FeedError {
    let mut said = [0; 512];
    loop {
        match stream.read(&mut said).await {
            Ok(0) => return FeedError::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return FeedError::Closed,
            Err(error) => return FeedError::Connection(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use wardroom_audit::{Act, Entry, Origin, Record};

    use super::{KEEP_ALIVE, SETTLE, Unsettled, frames};

    #[test]
    fn what_was_written_settles_in_its_order_and_time() {
        let start = Instant::now();
        let mut unsettled = Unsettled::default();
        assert_eq!(unsettled.wait(start), KEEP_ALIVE);
        unsettled.0.push_back((start, 10));
        unsettled.0.push_back((start + Duration::from_secs(1), 20));
        assert_eq!(unsettled.settle(start + Duration::from_secs(2)), None);
        assert_eq!(unsettled.wait(start), SETTLE);
        assert_eq!(unsettled.settle(start + SETTLE), Some(10));
        assert_eq!(unsettled.wait(start + SETTLE), Duration::from_secs(1));
        assert_eq!(unsettled.settle(start + SETTLE * 2), Some(20));
        assert_eq!(unsettled.settle(start + SETTLE * 3), None);
    }

    #[test]
    fn frames_count_bytes() {
        let record = Record::by(Act::RoleCheck, Origin::default()).why("é");
        let entry = Entry { number: 0, record };
        let frames = String::from_utf8(frames(&[entry.clone(), entry], "a.example")).unwrap();
        let (length, rest) = frames.split_once(' ').unwrap();
        let (first, second) = rest.split_at(length.parse().unwrap());
        assert!(first.ends_with("</AuditMessage>"), "{first}");
        assert_eq!(second, format!("{length} {first}"));
    }
}
