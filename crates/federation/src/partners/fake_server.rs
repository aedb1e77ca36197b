//! A server of another name on this machine: TLS with a certificate of its own authority, and answers from a closure.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{CanonicalJsonObject, OwnedServerName, serde::Base64, signatures::sign_json};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use wardroom_event::SigningKey;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered: everything after the status line's `HTTP/1.1 `.
pub(crate) type Answer = Vec<u8>;

pub(crate) fn answer(status: u16, body: &[u8]) -> Answer {
    let text = format!("{status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut answer = text.into_bytes();
    answer.extend_from_slice(body);
    answer
}

type Handler = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    pub(crate) name: OwnedServerName,
    pub(crate) key: Arc<SigningKey>,
    /// PEM of the certificate, which is its own authority.
    pub(crate) ca: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    handler: Arc<Mutex<Handler>>,
}

impl FakeServer {
    /// A server at a port of 127.0.0.1, called so, which publishes its keys and knows nothing else.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let server = Self {
            address,
            name: OwnedServerName::try_from(address.to_string()).unwrap(),
            key: Arc::new(SigningKey::generate("fake").unwrap()),
            ca: made.cert.pem().into_bytes(),
            certificate: certificate.to_vec(),
            asked: Arc::default(),
            connections: Arc::default(),
            handler: Arc::new(Mutex::new(Arc::new(|_| answer(404, b"{}")))),
        };
        let document = server.key_document(u64::MAX >> 12);
        server.answers(move |asked| match asked.path.as_str() {
            "/_matrix/key/v2/server" => answer(200, document.to_string().as_bytes()),
            _ => answer(404, br#"{"errcode":"M_UNRECOGNIZED","error":"no"}"#),
        });
        let (config, handler) = (Arc::new(config), Arc::clone(&server.handler));
        let (asked, connections) = (Arc::clone(&server.asked), Arc::clone(&server.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::Relaxed);
                let (config, handler, asked) = (Arc::clone(&config), Arc::clone(&handler), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, config, &handler, &asked));
            }
        });
        server
    }

    pub(crate) fn answers(&self, handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        *self.handler.lock() = Arc::new(handler);
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked.lock().iter().map(|asked| asked.path.clone()).collect()
    }

    /// The document of its keys, signed.
    pub(crate) fn key_document(&self, valid_until_ts: u64) -> Value {
        self.signed(&json!({
            "server_name": self.name,
            "valid_until_ts": valid_until_ts,
            "verify_keys": {(self.key.key_id().as_str()): {"key": encoded(&self.key)}},
            "old_verify_keys": {},
        }))
    }

    pub(crate) fn signed(&self, value: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(value.clone()).unwrap();
        sign_json(self.name.as_str(), self.key.pair(), &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }
}

pub(crate) fn encoded(key: &SigningKey) -> String {
    Base64::<ruma::serde::base64::Standard, _>::new(key.public_key().to_vec()).encode()
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, handler: &Mutex<Handler>, asked: &Mutex<Vec<Asked>>) {
    let Ok(connection) = ServerConnection::new(config) else { return };
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read(&mut stream) {
        asked.lock().push(request.clone());
        let handler = Arc::clone(&handler.lock());
        let answer = handler(&request);
        let sent = stream.get_mut().write_all(b"HTTP/1.1 ").and_then(|()| stream.get_mut().write_all(&answer));
        if sent.and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ');
    let path = words.nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Asked { path, headers })
}
