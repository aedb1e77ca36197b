//! HTTPS requests to other servers, wherever they are.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header::HOST};
use quick_cache::sync::Cache;
use reqwest::{Client as HttpClient, ClientBuilder, Response, redirect::Policy};
use ruma::{OwnedServerName, ServerName};
use rustls::ClientConfig;
use wardroom_clock::SharedClock;
use wardroom_outbound::Ranges;

use super::{
    Limits, PartnerError, PartnerSettings,
    backoff::Backoff,
    discovery::{self, Destination, Lookups, Reach},
    dns::{Dns, Pinned, Srv},
    locks::Locks,
    tls::{self, Pin, Tls, TlsSettings},
    well_known::WellKnown,
};

/// How long a connection may take to come about, name look-ups included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Connections kept for one server.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// Servers whose place and connections are kept.
const LINKS_MAX: usize = 2_000;
/// How long a server's place is believed before it is looked for again; the caches of well-known and DNS last longer.
const LINK_MS: u64 = 5 * 60 * 1_000;
/// Longest error answer that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A server that was found, with its connections.
struct Link {
    destination: Destination,
    client: HttpClient,
    until_ms: u64,
}

/// Makes requests to servers by their names.
pub(crate) struct Client {
    pub(crate) backoff: Backoff,
    pub(crate) ranges: Arc<Ranges>,
    pub(crate) network: Network,
    clock: SharedClock,
    tls: Tls,
    /// The configuration of most servers; its copies share sessions.
    config: ClientConfig,
    pins: Vec<(OwnedServerName, Vec<Pin>)>,
    links: Cache<OwnedServerName, Arc<Link>>,
    /// Nobody is looked for twice at the same time.
    looking: Locks,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("links", &self.links.len()).finish_non_exhaustive()
    }
}

/// The real look-ups.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) dns: Dns,
    pub(crate) well_known: WellKnown,
}

impl Lookups for Network {
    async fn well_known(&self, host: &str) -> Result<OwnedServerName, String> {
        self.well_known.of(host).await
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        self.dns.srv(name).await
    }
}

/// What all clients have in common. Only HTTP/1.1, whose `Host` says the server's whole name.
fn builder(config: ClientConfig, resolver: Pinned) -> ClientBuilder {
    HttpClient::builder()
        .user_agent(concat!("Wardroom/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .no_proxy()
        .http1_only()
        .redirect(Policy::none())
        .tls_info(true)
        .tls_backend_preconfigured(config)
        .dns_resolver(Arc::new(resolver))
}

impl Client {
    pub(crate) fn new(settings: &PartnerSettings, clock: SharedClock) -> Result<Self, PartnerError> {
        let tls = Tls::new(&TlsSettings {
            verify_certificates: settings.verify_certificates,
            extra_ca: &settings.extra_ca,
            client_certificate: settings.client_certificate.as_ref(),
        })?;
        let config = tls.config(&[])?;
        let ranges = Arc::new(settings.ranges.clone());
        let dns = Dns::new();
        let any_host = Pinned::new(dns.clone(), Arc::clone(&ranges), Vec::new());
        let well_known = WellKnown::new(builder(config.clone(), any_host), Arc::clone(&ranges), Arc::clone(&clock));
        let well_known = well_known.map_err(|error| PartnerError::Setting(tls::sentence(&error)))?;
        let pinned = settings.partners.iter().filter(|partner| !partner.pins.is_empty());
        Ok(Self {
            backoff: Backoff::new(Arc::clone(&clock)),
            ranges,
            network: Network { dns, well_known },
            clock,
            tls,
            config,
            pins: pinned.map(|partner| (partner.name.clone(), partner.pins.clone())).collect(),
            links: Cache::new(LINKS_MAX),
            looking: Locks::default(),
        })
    }

    /// Makes a client for what the operator names himself: any host, and no range is refused.
    pub(crate) fn for_operator(&self) -> ClientBuilder {
        let any = Pinned::new(self.network.dns.clone(), Arc::default(), Vec::new());
        builder(self.config.clone(), any)
    }

    /// Looks for a server, or remembers where it was.
    async fn link(&self, server: &ServerName) -> Result<Arc<Link>, PartnerError> {
        let now_ms = self.clock.now_ms();
        if let Some(link) = self.links.get(server).filter(|link| link.until_ms > now_ms) {
            return Ok(link);
        }
        let lock = self.looking.of(server);
        let _guard = lock.lock().await;
        let before = self.links.get(server);
        if let Some(link) = before.as_ref().filter(|link| link.until_ms > now_ms) {
            return Ok(Arc::clone(link));
        }
        let destination = discovery::find(server, &self.network, &mut Vec::new()).await;
        let client = match before {
            // Its connections stay.
            Some(link) if link.destination == destination => link.client.clone(),
            _ => self.make(server, &destination)?,
        };
        let link = Arc::new(Link { destination, client, until_ms: now_ms.saturating_add(LINK_MS) });
        self.links.insert(server.to_owned(), Arc::clone(&link));
        Ok(link)
    }

    fn make(&self, server: &ServerName, destination: &Destination) -> Result<HttpClient, PartnerError> {
        let pins = self.pins.iter().find(|(name, _)| name == server);
        let config = match pins {
            Some((_, pins)) => self.tls.config(pins)?,
            None => self.config.clone(),
        };
        let places = match &destination.reach {
            Reach::Places(places) => places.clone(),
            Reach::Address(_) => Vec::new(),
        };
        let resolver = Pinned::new(self.network.dns.clone(), Arc::clone(&self.ranges), places);
        builder(config, resolver).build().map_err(|error| PartnerError::Setting(tls::sentence(&error)))
    }

    /// Sends a request; the answer's body is not read yet. The request's URI gives path and query only.
    pub(crate) async fn send(
        &self,
        server: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response, PartnerError> {
        if !limits.ignore_backoff && self.backoff.holds(server) {
            return Err(PartnerError::BackingOff);
        }
        let sent = tokio::time::timeout(limits.timeout, self.send_now(server, request, limits)).await;
        let sent = sent.unwrap_or_else(|_| Err(PartnerError::Unreachable("it did not answer in time".to_owned())));
        match &sent {
            Ok(answer) if is_gateway_failure(answer.status()) => self.backoff.note_failure(server),
            Ok(_) => self.backoff.note_success(server),
            Err(PartnerError::Unreachable(_)) => {
                self.backoff.note_failure(server);
                // It may have moved.
                self.links.remove(server);
            }
            Err(_) => {}
        }
        sent
    }

    async fn send_now(
        &self,
        server: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response, PartnerError> {
        let link = self.link(server).await?;
        let Destination { host, tls_name, reach } = &link.destination;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let url = match reach {
            Reach::Address(address) if !self.ranges.admit(address.ip()) => {
                return Err(PartnerError::Unreachable(super::dns::RefusedAddress.to_string()));
            }
            Reach::Address(address) => format!("https://{address}{path}"),
            // No port: those of the resolved addresses count then.
            Reach::Places(_) => format!("https://{tls_name}{path}"),
        };
        let url: reqwest::Url =
            url.parse().map_err(|_| PartnerError::Unreachable("its name makes no URL".to_owned()))?;
        // What is sent must be what was signed, also where the URL's rules would tidy it up.
        let sent = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        if sent != path {
            return Err(PartnerError::Malformed("the request's path cannot be sent as it is".to_owned()));
        }
        // A name that URLs take for an address, such as 0x7f.1, never meets the resolver.
        let is_address = url.host_str().is_none_or(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok());
        if is_address && matches!(reach, Reach::Places(_)) {
            return Err(PartnerError::Unreachable("its name is an address in disguise".to_owned()));
        }
        let request = link.client.request(parts.method, url).headers(parts.headers).header(HOST, host);
        let sent = request.body(body).timeout(limits.timeout).send().await;
        sent.map_err(|error| PartnerError::Unreachable(tls::sentence(&error)))
    }

    /// Sends a request and reads the answer. Statuses from 400 on are errors, and so are redirections.
    pub(crate) async fn exchange(
        &self,
        server: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<(StatusCode, HeaderMap, Bytes), PartnerError> {
        let answer = self.send(server, request, limits).await?;
        let answer = Self::good(answer).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if !status.is_success() {
            return Err(PartnerError::Malformed(format!("it answers {status}")));
        }
        match read(answer, limits.answer_bytes_max).await {
            Ok(body) => Ok((status, headers, body)),
            Err(error) => {
                if matches!(error, PartnerError::Unreachable(_)) {
                    self.backoff.note_failure(server);
                }
                Err(error)
            }
        }
    }

    /// The answer, if it is not an error.
    pub(crate) async fn good(answer: Response) -> Result<Response, PartnerError> {
        let status = answer.status();
        if status.as_u16() < 400 {
            return Ok(answer);
        }
        let body = read(answer, ERROR_BYTES_MAX).await.unwrap_or_default();
        Err(PartnerError::refused(status, body))
    }
}

/// Whether an answer comes from what stands before the server, because that is down.
fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Reads an answer up to a limit.
async fn read(mut answer: Response, bytes_max: usize) -> Result<Bytes, PartnerError> {
    let mut body = BytesMut::new();
    loop {
        let chunk = answer.chunk().await.map_err(|error| PartnerError::Unreachable(tls::sentence(&error)))?;
        let Some(chunk) = chunk else { return Ok(body.freeze()) };
        if body.len() + chunk.len() > bytes_max {
            return Err(PartnerError::TooLong(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
}
