//! A signed list of the servers that may take part, in the form of the federation list of gematik's TI-Messenger: a JWS
//! whose payload names the domains, most of them by their hash.

mod jws;

use std::{
    collections::HashSet, fmt, future::Future, io::Read as _, path::PathBuf, pin::Pin, sync::Arc, time::Duration,
};

use parking_lot::RwLock;
use reqwest::Client as HttpClient;
use ruma::ServerName;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};
use wardroom_audit::{Act, AuditLog, Record};
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, Packed, Profile, Seal, Store, Table};

use super::{PartnerError, tls};

/// The newest list that was believed, so that a restart does not depend on where it comes from.
pub(crate) const LIST: Table<(), Packed<Row>> =
    Table::new(0x0502, "federation_list", Profile::Blob, Seal::System).compressed();

/// Longest list that is read.
const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Time for fetching it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time between two refreshes: a server that is not listed makes one, and may ask often.
const REFRESH_LEAST_MS: u64 = 30 * 1_000;

/// Which servers may take part beside what the policy says.
pub(crate) trait AllowList: fmt::Debug + Send + Sync {
    /// Whether a server is on the list as it is known now.
    fn admits(&self, server: &ServerName) -> bool;

    /// Reads the list of before a restart.
    fn load(&self) -> Pending<'_>;

    /// Reads the list anew, unless that was done just now.
    fn refresh(&self) -> Pending<'_>;

    /// How often it is read anew.
    fn refresh_every(&self) -> Duration;
}

/// Work on a list.
pub(crate) type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), PartnerError>> + Send + 'a>>;

/// Where a list comes from and who signs it.
#[derive(Clone, Debug)]
pub struct ListSettings {
    /// A file, or an `https://` URL.
    pub source: ListSource,
    /// Certificates (PEM files' contents): of authorities under which the signer's was issued, or the signer's own.
    pub authorities: Vec<Vec<u8>>,
    /// How often it is read anew.
    pub refresh_every: Duration,
}

/// Where a list comes from.
#[derive(Clone, Debug)]
pub enum ListSource {
    /// A file, which something else keeps up to date.
    File(PathBuf),
    /// A URL. The operator names it, so that it may lie in the hospital's own network.
    Url(url::Url),
}

/// A stored list: the JWS as it came. It is checked again when it is read, but for its age.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    jws: Vec<u8>,
    accepted_ms: u64,
}

/// The payload. Entries have more fields, which do not matter here.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    version: u64,
    #[serde(rename = "domainList")]
    domains: Vec<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    domain: String,
}

/// What a list says.
#[derive(Debug, Default)]
struct Listed {
    version: u64,
    /// SHA-256 of the names in lower case.
    names: HashSet<[u8; 32]>,
}

impl Listed {
    fn read(payload: &[u8]) -> Result<Self, String> {
        let payload: Payload =
            serde_json::from_slice(payload).map_err(|error| format!("its payload cannot be read: {error}"))?;
        let names = payload.domains.iter().map(|entry| hashed(&entry.domain)).collect();
        Ok(Self { version: payload.version, names })
    }

    fn admits(&self, server: &ServerName) -> bool {
        self.names.contains(&hash(server.as_str()))
    }
}

fn hash(name: &str) -> [u8; 32] {
    Sha256::digest(name.to_ascii_lowercase()).into()
}

/// The hash that an entry is, or that it has: 64 hexadecimal digits are no host name, whose labels end at 63.
fn hashed(entry: &str) -> [u8; 32] {
    let entry = entry.trim();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        entry.as_bytes().chunks(2).map(|pair| Some((digit(*pair.first()?)? << 4) | digit(*pair.get(1)?)?)).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_else(|| hash(entry))
}

/// A list that is kept up to date.
pub(crate) struct FederationList {
    settings: ListSettings,
    authorities: Vec<CertificateDer<'static>>,
    client: Option<HttpClient>,
    store: Store,
    audit: AuditLog,
    clock: SharedClock,
    listed: RwLock<Arc<Listed>>,
    /// When it was last tried to read it anew.
    refreshed_ms: tokio::sync::Mutex<Option<u64>>,
}

impl fmt::Debug for FederationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FederationList").field("source", &self.settings.source).finish_non_exhaustive()
    }
}

impl FederationList {
    /// A list that knows nobody yet. `builder` makes the client for a URL.
    pub(crate) fn new(
        settings: ListSettings,
        builder: reqwest::ClientBuilder,
        (store, audit): (Store, AuditLog),
        clock: SharedClock,
    ) -> Result<Self, PartnerError> {
        let setting = |error: String| PartnerError::Setting(format!("federation.list: {error}"));
        let mut authorities = Vec::new();
        for pem in &settings.authorities {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                authorities.push(certificate.map_err(|error| setting(error.to_string()))?);
            }
        }
        if authorities.is_empty() {
            return Err(setting("there is no certificate that its signature could be checked with".to_owned()));
        }
        let client = match settings.source {
            ListSource::File(_) => None,
            ListSource::Url(_) => {
                Some(builder.timeout(FETCH_TIMEOUT).build().map_err(|error| setting(tls::sentence(&error)))?)
            }
        };
        let (listed, refreshed_ms) = (RwLock::default(), tokio::sync::Mutex::default());
        Ok(Self { settings, authorities, client, store, audit, clock, listed, refreshed_ms })
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        match (&self.settings.source, &self.client) {
            (ListSource::Url(url), Some(client)) => {
                let mut answer = client.get(url.clone()).send().await.map_err(|error| tls::sentence(&error))?;
                if !answer.status().is_success() {
                    return Err(format!("its server answers {}", answer.status()));
                }
                let mut list = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(|error| tls::sentence(&error))? {
                    list.extend_from_slice(&chunk);
                    if list.len() as u64 > LIST_BYTES_MAX {
                        return Err(format!("it is longer than {LIST_BYTES_MAX} bytes"));
                    }
                }
                Ok(list)
            }
            (ListSource::File(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let mut list = Vec::new();
                    std::fs::File::open(&path)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut list)?;
                    Ok::<_, std::io::Error>(list)
                });
                let read = read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                if read.len() as u64 > LIST_BYTES_MAX {
                    return Err(format!("it is longer than {LIST_BYTES_MAX} bytes"));
                }
                Ok(read)
            }
            (ListSource::Url(_), None) => Err("there is no client".to_owned()),
        }
    }

    /// Checks a list and puts it in force, unless a newer one is.
    fn accept(&self, list: &[u8], at_ms: u64) -> Result<Arc<Listed>, String> {
        let text = std::str::from_utf8(list).map_err(|_| "it is no JWS".to_owned())?;
        let payload = jws::verify(text.trim(), &self.authorities, at_ms)?;
        let listed = Arc::new(Listed::read(&payload)?);
        let mut current = self.listed.write();
        if listed.version < current.version {
            return Err(format!("it is of version {}, older than {}", listed.version, current.version));
        }
        *current = Arc::clone(&listed);
        Ok(listed)
    }

    async fn refresh_now(&self) -> Result<(), PartnerError> {
        let failed = |reason: String| PartnerError::Setting(format!("the federation list: {reason}"));
        let list = self.fetch().await.map_err(failed)?;
        let now_ms = self.clock.now_ms();
        let before = Arc::clone(&self.listed.read());
        let listed = self.accept(&list, now_ms).map_err(failed)?;
        if listed.version > before.version || listed.names != before.names {
            info!(version = listed.version, servers = listed.names.len(), "the federation list is in force");
            let mut batch = Batch::default();
            let record = Record::of(Act::ServerConfig).detail("federation list").new(wardroom_audit::hash(&list));
            self.audit.add(&mut batch, record.count(listed.names.len() as u64));
            batch.put(&LIST, &(), &Packed(Row { jws: list, accepted_ms: now_ms }));
            self.store.commit(batch).await.map_err(|error| PartnerError::Store(error.to_string()))?;
        }
        Ok(())
    }
}

impl AllowList for FederationList {
    fn admits(&self, server: &ServerName) -> bool {
        self.listed.read().admits(server)
    }

    fn load(&self) -> Pending<'_> {
        Box::pin(async move {
            let stored = self.store.latest().get(&LIST, &()).await;
            if let Some(Packed(row)) = stored.map_err(|error| PartnerError::Store(error.to_string()))?
                && let Err(reason) = self.accept(&row.jws, row.accepted_ms)
            {
                // Its signer is not trusted any more.
                warn!(reason, "the stored federation list does not count");
            }
            Ok(())
        })
    }

    fn refresh(&self) -> Pending<'_> {
        Box::pin(async move {
            let mut refreshed_ms = self.refreshed_ms.lock().await;
            let now_ms = self.clock.now_ms();
            if refreshed_ms.is_some_and(|last| now_ms < last.saturating_add(REFRESH_LEAST_MS)) {
                return Ok(());
            }
            *refreshed_ms = Some(now_ms);
            let refreshed = self.refresh_now().await;
            if let Err(error) = &refreshed {
                warn!(%error, "the last federation list stays in force");
            }
            refreshed
        })
    }

    fn refresh_every(&self) -> Duration {
        self.settings.refresh_every
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use serde_json::{Value, json};
    use wardroom_clock::ManualClock;
    use wardroom_store::Catalogue;

    use super::*;

    const NOW_MS: u64 = 1_780_000_000_000;

    struct Signer {
        made: rcgen::CertifiedKey<rcgen::KeyPair>,
    }

    impl Signer {
        fn new() -> Self {
            Self { made: rcgen::generate_simple_self_signed(vec!["list.example".to_owned()]).unwrap() }
        }

        fn sign(&self, payload: &Value) -> String {
            use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
            let encode = |bytes: &[u8]| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let x5c = BASE64_STANDARD.encode(self.made.cert.der());
            let header = json!({"alg": "ES256", "typ": "JWT", "x5c": [x5c]}).to_string();
            let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.to_string().as_bytes()));
            let key = PrivatePkcs8KeyDer::from(self.made.signing_key.serialize_der());
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).unwrap();
            let random = aws_lc_rs::rand::SystemRandom::new();
            let signature = key.sign(&random, signed.as_bytes()).unwrap();
            format!("{signed}.{}", encode(signature.as_ref()))
        }
    }

    fn hex(name: &str) -> String {
        hash(name).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn list(signer: &Signer, path: &std::path::Path, store: &Store) -> (FederationList, Arc<ManualClock>) {
        let settings = ListSettings {
            source: ListSource::File(path.to_owned()),
            authorities: vec![signer.made.cert.pem().into_bytes()],
            refresh_every: Duration::from_secs(3_600),
        };
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let list =
            FederationList::new(settings, HttpClient::builder(), (store.clone(), AuditLog::silent()), clock.clone())
                .unwrap();
        (list, clock)
    }

    #[tokio::test]
    async fn the_newest_list_of_the_right_signer_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.jws");
        let store = Store::in_memory(Catalogue::new(&[crate::TABLES]).unwrap());
        let (signer, stranger) = (Signer::new(), Signer::new());
        let (list, clock) = list(&signer, &path, &store);
        let server = |name: &str| ruma::OwnedServerName::try_from(name).unwrap();
        let write = |signer: &Signer, version: u64, names: &[&str]| {
            let domains: Vec<Value> = names.iter().map(|name| json!({"domain": name, "telematikID": "1-2"})).collect();
            let payload = json!({"version": version, "domainList": domains});
            std::fs::write(&path, signer.sign(&payload)).unwrap();
        };
        assert!(list.refresh().await.is_err(), "there is no file");
        assert!(!list.admits(&server("a.example")), "without a list nobody is admitted");

        clock.advance_ms(REFRESH_LEAST_MS);
        write(&signer, 7, &["a.example", &hex("b.example")]);
        list.refresh().await.unwrap();
        for (name, admitted) in [("a.example", true), ("A.example", true), ("b.example", true), ("c.example", false)] {
            assert_eq!(list.admits(&server(name)), admitted, "{name}");
        }
        for (signer, version) in [(&stranger, 8), (&signer, 6)] {
            clock.advance_ms(REFRESH_LEAST_MS);
            write(signer, version, &["c.example"]);
            assert!(list.refresh().await.is_err(), "{version}");
            assert!(list.admits(&server("a.example")) && !list.admits(&server("c.example")));
        }
        write(&signer, 8, &["c.example"]);
        list.refresh().await.unwrap();
        assert!(!list.admits(&server("c.example")), "it was read just now");
        clock.advance_ms(REFRESH_LEAST_MS);
        list.refresh().await.unwrap();
        assert!(list.admits(&server("c.example")) && !list.admits(&server("a.example")));

        // A restart without the file.
        std::fs::remove_file(&path).unwrap();
        let (again, _) = self::list(&signer, &path, &store);
        again.load().await.unwrap();
        assert!(again.admits(&server("c.example")));
        // And one that trusts somebody else.
        let (other, _) = self::list(&stranger, &path, &store);
        other.load().await.unwrap();
        assert!(!other.admits(&server("c.example")));
    }
}
