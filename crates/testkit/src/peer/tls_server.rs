//! A router behind TLS on a port of the system's choice.

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};

use crate::{http::runtime, tls::issued_pem};

/// Ends the server when it is dropped.
#[derive(Debug)]
pub(crate) struct TlsServer {
    handle: Handle<SocketAddr>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl TlsServer {
    /// A socket for [`TlsServer::start`], whose port is known before.
    pub(crate) fn bind() -> TcpListener {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        socket.set_nonblocking(true).expect("a socket can be used without blocking");
        socket
    }

    /// Serves from now on.
    pub(crate) fn start(socket: TcpListener, router: Router) -> Self {
        let address = socket.local_addr().expect("a bound socket has an address");
        let (cert, key) = issued_pem(&["localhost", "127.0.0.1"]);
        let handle = Handle::new();
        let own = handle.clone();
        runtime().spawn(async move {
            let config =
                RustlsConfig::from_pem(cert.into_bytes(), key.into_bytes()).await.expect("certificate and key");
            let server = axum_server::from_tcp_rustls(socket, config).expect("the socket listens").handle(own);
            server.serve(router.into_make_service()).await.expect("the server serves");
        });
        Self { handle, address }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}
