//! Sockets, plain and TLS, and how they start and stop.

mod certificates;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Extension;
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use tokio::task::JoinSet;
use tracing::{error, info};
use wardroom_web::TrustedProxies;

use self::certificates::CertificateError;
use crate::{
    causes::in_full,
    config::listener::{Listener, Tls},
    wiring::App,
};

/// A new connection must have sent its first request in this time.
const FIRST_REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// How long a connection may wait for its next request. Longer than the usual 60 s of reverse proxies: the side that
/// sends requests must be the one that closes, or requests meet a closing connection.
const NEXT_REQUEST_LIMIT: Duration = Duration::from_secs(90);

/// How long requests in flight may take to end when the server stops. Long polls end at once by themselves.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Streams of one HTTP/2 connection at the same time.
const HTTP2_STREAMS_MAX: u32 = 256;

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("listener.address {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A bound socket with its configuration.
pub(crate) type Socket = (TcpListener, Listener);

/// Binds all addresses.
pub(crate) fn bind(listeners: &[Listener]) -> Result<Vec<Socket>, ListenError> {
    let bind = |listener: &Listener| {
        let address = listener.address;
        let socket = TcpListener::bind(address).map_err(|source| ListenError::Bind { address, source })?;
        Ok((socket, listener.clone()))
    };
    listeners.iter().map(bind).collect()
}

/// Problems that `check` reports.
pub(crate) fn check(listeners: &[Listener]) -> Vec<String> {
    let tls = listeners.iter().filter_map(|listener| listener.tls.as_ref());
    tls.filter_map(|tls| certificates::read(tls).err()).map(|error| in_full(&error)).collect()
}

/// Listeners at work.
#[derive(Debug)]
pub(crate) struct Listeners {
    handle: Handle<SocketAddr>,
    certificates: Vec<(Tls, RustlsConfig)>,
    tasks: JoinSet<()>,
}

/// Starts to answer on all sockets.
pub(crate) fn start(sockets: Vec<Socket>, app: &App) -> Result<Listeners, ListenError> {
    let mut listeners = Listeners { handle: Handle::new(), certificates: Vec::new(), tasks: JoinSet::new() };
    for (socket, listener) in sockets {
        listeners.start_one(socket, &listener, app)?;
    }
    Ok(listeners)
}

impl Listeners {
    fn start_one(&mut self, socket: TcpListener, listener: &Listener, app: &App) -> Result<(), ListenError> {
        let address = socket.local_addr().unwrap_or(listener.address);
        let proxies = TrustedProxies(Arc::from(listener.trusted_proxies.as_slice()));
        let service = app.routes(&listener.serves).layer(Extension(proxies));
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        let failed = |source| ListenError::Bind { address, source };
        let server = axum_server::from_tcp(socket).map_err(failed)?.handle(self.handle.clone());
        let mut server = server.acceptor(NoDelayAcceptor::new()).first_request_timeout(FIRST_REQUEST_LIMIT);
        server.http_builder().http1().header_read_timeout(NEXT_REQUEST_LIMIT);
        server.http_builder().http2().max_concurrent_streams(HTTP2_STREAMS_MAX);
        let tls = listener.tls.is_some();
        info!(%address, tls, serves = ?listener.serves, "listening");
        let ended = move |result: io::Result<()>| {
            if let Err(error) = result {
                error!(%address, %error, "a listener failed");
            }
        };
        if let Some(tls) = &listener.tls {
            let config = RustlsConfig::from_config(certificates::read(tls)?);
            self.certificates.push((tls.clone(), config.clone()));
            let server = server.map(|plain| RustlsAcceptor::new(config).acceptor(plain));
            self.tasks.spawn(async move { ended(server.serve(service).await) });
        } else {
            self.tasks.spawn(async move { ended(server.serve(service).await) });
        }
        Ok(())
    }

    /// Reads all certificates again; connections that stand keep the old ones.
    pub(crate) fn reload_certificates(&self) {
        for (tls, config) in &self.certificates {
            match certificates::read(tls) {
                Ok(server_config) => {
                    config.reload_from_config(server_config);
                    info!(cert = %tls.cert.display(), "certificate read again");
                }
                Err(error) => error!(error = in_full(&error), "the certificate stays as it was"),
            }
        }
    }

    /// Takes no more connections, and waits for requests in flight for [`STOP_LIMIT`].
    pub(crate) async fn stop(mut self) {
        self.handle.graceful_shutdown(Some(STOP_LIMIT));
        while self.tasks.join_next().await.is_some() {}
    }
}
