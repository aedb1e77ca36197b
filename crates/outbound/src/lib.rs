//! Requests to machines that others name: push gateways, pages to preview, and other servers.
//!
//! Whoever gives this server an address may mean the hospital's own network with it (server-side request forgery). So
//! every address is put to [`Ranges`] after the name was resolved, at the moment of connecting, and again for each
//! redirection: a name that changes its address in between gains nothing. Answers are read up to a limit.
//!
//! Deliberately absent: what is asked, and of whom.

mod ranges;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

pub use self::ranges::Ranges;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to resolve a name that is only checked.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections kept for one host.
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 4;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is one that this server never connects to.
    #[error("the address is in a range that this server does not connect to")]
    Refused,
    /// The URL has no host, or another scheme than http and https.
    #[error("the URL is not one of a web server")]
    NotWeb,
    /// The answer is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The client could not be made, the request not be sent, or the answer not be read.
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
}

/// How requests are made.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// Where connections may go.
    pub ranges: Ranges,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// Whether certificates are checked at all.
    pub verify_certificates: bool,
    /// Redirections that are followed.
    pub redirects_max: usize,
    /// Time for a whole request, its answer included.
    pub timeout: Duration,
}

/// Makes requests. Clones share connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    ranges: Arc<Ranges>,
}

impl Outbound {
    /// A client with these settings.
    pub fn new(settings: OutboundSettings) -> Result<Self, OutboundError> {
        // Another part of the process may have installed it already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ranges = Arc::new(settings.ranges);
        let mut client = Client::builder()
            .user_agent(concat!("Wardroom/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
            .no_proxy()
            .tls_danger_accept_invalid_certs(!settings.verify_certificates)
            .redirect(redirects(Arc::clone(&ranges), settings.redirects_max))
            .dns_resolver(Arc::new(Resolver(Arc::clone(&ranges))));
        for pem in &settings.extra_ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(OutboundError::Failed)?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(Self { client: client.build().map_err(OutboundError::Failed)?, ranges })
    }

    /// Whether a URL is one that requests may be made to, as far as can be said without resolving its name.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        check(&self.ranges, url)
    }

    /// As [`Outbound::check`], and resolves a name: one that leads into refused ranges alone is refused. A name that
    /// does not resolve now, or not soon, is none that is known to lead there.
    pub async fn admits(&self, url: &Url) -> Result<(), OutboundError> {
        self.check(url)?;
        let host = url.host_str().ok_or(OutboundError::NotWeb)?.trim_matches(['[', ']']);
        let Ok(Ok(found)) = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await else {
            return Ok(());
        };
        let mut found = found.peekable();
        let refused = found.peek().is_some() && !found.any(|address| self.ranges.admit(address.ip()));
        if refused { Err(OutboundError::Refused) } else { Ok(()) }
    }

    /// Begins a request with GET.
    pub fn get(&self, url: Url) -> Result<RequestBuilder, OutboundError> {
        self.request(Method::GET, url)
    }

    /// Begins a request with POST.
    pub fn post(&self, url: Url) -> Result<RequestBuilder, OutboundError> {
        self.request(Method::POST, url)
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, OutboundError> {
        self.check(&url)?;
        Ok(self.client.request(method, url))
    }

    /// Sends a request.
    pub async fn send(request: RequestBuilder) -> Result<Response, OutboundError> {
        request.send().await.map_err(failed)
    }

    /// Reads an answer of at most so many bytes.
    pub async fn read(mut response: Response, max_bytes: usize) -> Result<Bytes, OutboundError> {
        let mut read = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if read.len() + chunk.len() > max_bytes {
                return Err(OutboundError::TooLong(max_bytes));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read.freeze())
    }
}

/// Tells a refusal, which comes wrapped from inside the client, from other failures.
fn failed(error: reqwest::Error) -> OutboundError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if one.is::<RefusedAddress>() {
            return OutboundError::Refused;
        }
        cause = one.source();
    }
    OutboundError::Failed(error.without_url())
}

/// Checks what can be seen in a URL itself: names are checked when they are resolved, addresses here.
fn check(ranges: &Ranges, url: &Url) -> Result<(), OutboundError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OutboundError::NotWeb);
    }
    let host = url.host_str().ok_or(OutboundError::NotWeb)?;
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if !ranges.admit(address) => Err(OutboundError::Refused),
        _ => Ok(()),
    }
}

/// A name leads to addresses that this server does not connect to, and to no others.
#[derive(Debug, thiserror::Error)]
#[error("the address is in a range that this server does not connect to")]
struct RefusedAddress;

fn redirects(ranges: Arc<Ranges>, max: usize) -> Policy {
    if max == 0 {
        return Policy::none();
    }
    Policy::custom(move |attempt| {
        if attempt.previous().len() > max {
            attempt.error("too many redirections")
        } else if check(&ranges, attempt.url()).is_err() {
            attempt.error(RefusedAddress)
        } else {
            attempt.follow()
        }
    })
}

/// Resolves names to admitted addresses only.
#[derive(Debug)]
struct Resolver(Arc<Ranges>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let ranges = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is a stand-in: the client puts the URL's in its place.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted: Vec<_> = found.into_iter().filter(|address| ranges.admit(address.ip())).collect();
            if admitted.is_empty() {
                return Err(Box::from(RefusedAddress));
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(allow: &[&str]) -> Outbound {
        let parse = |ranges: &[&str]| ranges.iter().map(|range| range.parse().unwrap()).collect();
        Outbound::new(OutboundSettings {
            ranges: Ranges::new(parse(&["127.0.0.0/8", "::/127", "10.0.0.0/8"]), parse(allow)),
            extra_ca: Vec::new(),
            verify_certificates: true,
            redirects_max: 2,
            timeout: Duration::from_secs(10),
        })
        .unwrap()
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_in_urls_are_checked_however_they_are_written() {
        let outbound = outbound(&["127.0.0.2/32"]);
        for inside in
            ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://[::ffff:10.1.2.3]/"]
        {
            assert!(matches!(outbound.check(&url(inside)), Err(OutboundError::Refused)), "{inside}");
        }
        for outside in ["http://127.0.0.2/", "https://192.0.2.1/", "https://pushes.example/"] {
            assert!(outbound.check(&url(outside)).is_ok(), "{outside}");
        }
        for other in ["file:///etc/passwd", "ftp://a.example/", "data:text/plain,a"] {
            assert!(matches!(outbound.check(&url(other)), Err(OutboundError::NotWeb)), "{other}");
        }
    }

    #[tokio::test]
    async fn names_are_checked_when_they_are_resolved() {
        let refused = Outbound::send(outbound(&[]).get(url("http://localhost:9/")).unwrap()).await;
        assert!(matches!(refused, Err(OutboundError::Refused)), "{refused:?}");
        assert!(matches!(outbound(&[]).admits(&url("http://localhost:9/")).await, Err(OutboundError::Refused)));
        assert!(outbound(&[]).admits(&url("http://nowhere.invalid/")).await.is_ok());
    }

    #[tokio::test]
    async fn answers_are_read_up_to_a_limit_and_redirections_into_refused_ranges_are_not_followed() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nabcdef",
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nabcdef",
                "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1_024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let outbound = outbound(&["127.0.0.2/32"]);
        let get = || outbound.get(url(&format!("http://127.0.0.2:{port}/"))).unwrap();
        let fits = Outbound::read(Outbound::send(get()).await.unwrap(), 6).await.unwrap();
        assert_eq!(fits, "abcdef");
        let too_long = Outbound::read(Outbound::send(get()).await.unwrap(), 5).await;
        assert!(matches!(too_long, Err(OutboundError::TooLong(5))));
        assert!(matches!(Outbound::send(get()).await, Err(OutboundError::Refused)));
        server.await.unwrap();
    }
}
