//! Other servers: whether they are admitted, where they are, which keys they have, and requests to them.

mod backoff;
mod checking;
mod client;
mod diagnosis;
mod discovery;
mod dns;
mod federation_list;
mod http_date;
mod key_document;
mod keyring;
mod locks;
mod notary;
mod outcome;
mod own_keys;
mod policy;
mod request_signature;
mod settings;
mod tls;
mod well_known;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_TYPE};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerSigningKeyId, ServerName,
    api::{
        IncomingResponseExt as _, OutgoingRequest, OutgoingRequestExt as _,
        federation::{
            authentication::{ServerSignatures, XMatrix, XMatrixSigningInput},
            discovery::ServerSigningKeys,
        },
        path_builder::SinglePath,
    },
    serde::Raw,
};
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_event::Pdu;
use wardroom_store::Store;

use self::{
    checking::Checkers,
    client::Client,
    federation_list::{AllowList, FederationList},
    key_document::is_signed_by,
    keyring::{Keyring, Known, Wanted},
    own_keys::OwnKeys,
    policy::Policies,
};
pub use self::{
    diagnosis::{Finding, Verdict, diagnose},
    federation_list::{ListSettings, ListSource},
    notary::{AskedKeys, NOTARY_SERVERS_MAX},
    outcome::{Limits, PartnerError},
    own_keys::OldKey,
    policy::{POLICY_PATTERN_BYTES_MAX, POLICY_PATTERNS_MAX, Policy},
    request_signature::{RequestSignature, SignatureError},
    settings::{Partner, PartnerSettings},
    tls::{Pin, parse_pin},
};
pub(crate) use self::{
    federation_list::LIST,
    keyring::{OLDER_DOCUMENTS, SERVER_KEYS},
    policy::POLICY,
};
use crate::Parts;

/// Signatures of one server that are looked at.
const SIGNATURES_MAX: usize = 16;

/// Other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Partners {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Arc<Client>,
    keyring: Keyring,
    own_keys: OwnKeys,
    checkers: Checkers,
    policies: Policies,
    list: Option<Arc<dyn AllowList>>,
    store: Store,
    clock: SharedClock,
    audit: AuditLog,
    settings: PartnerSettings,
}

/// An event of another server as it came, and what became of the check of its signatures.
pub type CheckedEvent = Result<Arc<Pdu>, String>;

impl Partners {
    /// The partners as the settings want them.
    pub(crate) fn new(parts: &Parts, settings: PartnerSettings) -> Result<Self, PartnerError> {
        let (name, key) = (parts.server_name.clone(), Arc::clone(&parts.signing_key));
        let own_keys = OwnKeys::new(name, key, settings.old_keys.clone(), Arc::clone(&parts.clock));
        Self::assemble(own_keys, parts.store.clone(), Arc::clone(&parts.clock), parts.audit.clone(), settings)
    }

    fn assemble(
        own_keys: OwnKeys,
        store: Store,
        clock: SharedClock,
        audit: AuditLog,
        settings: PartnerSettings,
    ) -> Result<Self, PartnerError> {
        let client = Arc::new(Client::new(&settings, Arc::clone(&clock))?);
        let keyring = Keyring::new(Arc::clone(&client), store.clone(), Arc::clone(&clock), settings.notaries.clone());
        let checkers = Checkers::new();
        let policies = Policies::new(Policy { allow: settings.allow.clone(), deny: settings.deny.clone() });
        let list: Option<Arc<dyn AllowList>> = match settings.list.clone() {
            Some(list) => {
                let client = client.for_operator();
                Some(Arc::new(FederationList::new(list, client, (store.clone(), audit.clone()), Arc::clone(&clock))?))
            }
            None => None,
        };
        let inner = Inner { client, keyring, own_keys, checkers, policies, list, store, clock, audit, settings };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name of this server.
    pub fn own_name(&self) -> &ServerName {
        &self.inner.own_keys.server_name
    }

    /// Reads what was decided while the server ran before. Once, before anything is asked.
    pub(crate) async fn load(&self) -> Result<(), PartnerError> {
        self.inner.policies.load(&self.inner.store).await?;
        match &self.inner.list {
            Some(list) => list.load().await,
            None => Ok(()),
        }
    }

    /// Keeps what comes from elsewhere up to date until the server stops.
    pub(crate) async fn run(&self) {
        let Some(list) = &self.inner.list else { return };
        loop {
            // Failures are logged, and the last list stays.
            let _ = list.refresh().await;
            tokio::time::sleep(list.refresh_every()).await;
        }
    }

    /// Whether a server is admitted, by the policy and by the list as it is known now. This server always is.
    pub fn admits(&self, server: &ServerName) -> bool {
        let by_list = || self.inner.list.as_ref().is_none_or(|list| list.admits(server));
        self.inner.settings.enabled && (server == self.own_name() || (self.by_policy(server) && by_list()))
    }

    /// As [`Partners::admits`]; before a server is refused because it is not on the list, the list is read anew.
    pub async fn admit(&self, server: &ServerName) -> bool {
        if self.admits(server) {
            return true;
        }
        match &self.inner.list {
            Some(list) if self.inner.settings.enabled && self.by_policy(server) => {
                // A list that cannot be read changes nothing.
                let _ = list.refresh().await;
                list.admits(server)
            }
            _ => false,
        }
    }

    fn by_policy(&self, server: &ServerName) -> bool {
        self.inner.policies.current().0.admits(server)
    }

    /// The policy in force, and whether an administrator set it while the server ran.
    pub fn policy(&self) -> (Arc<Policy>, bool) {
        self.inner.policies.current()
    }

    /// Puts a policy in force, at once and for good; `None` goes back to the configured one.
    ///
    /// # Errors
    /// [`PartnerError::Setting`] when the policy makes no sense, [`PartnerError::Store`] when it cannot be stored.
    pub async fn set_policy(&self, policy: Option<Policy>) -> Result<(), PartnerError> {
        if let Some(problem) = policy.iter().flat_map(Policy::problems).next() {
            return Err(PartnerError::Setting(problem));
        }
        self.inner.policies.set(&self.inner.store, &self.inner.audit, policy).await
    }

    /// How many requests a server may make in a second; `None` for as many as it likes.
    pub fn requests_per_second(&self, server: &ServerName) -> Option<u32> {
        let settings = &self.inner.settings;
        let partner = settings.partners.iter().find(|partner| partner.name == server);
        let limit = partner.and_then(|partner| partner.requests_per_second).unwrap_or(settings.requests_per_second);
        (limit > 0).then_some(limit)
    }

    /// Whether a server did not answer lately, so that requests which do not insist fail at once.
    pub fn is_backing_off(&self, server: &ServerName) -> bool {
        self.inner.client.backoff.holds(server)
    }

    /// Notes that a server could not be reached. Requests made here note it themselves.
    pub fn note_failure(&self, server: &ServerName) {
        self.inner.client.backoff.note_failure(server);
    }

    /// Notes that a server answered or was heard of. Requests made here note it themselves.
    pub fn note_success(&self, server: &ServerName) {
        self.inner.client.backoff.note_success(server);
    }

    /// The document in which this server publishes its keys, signed.
    ///
    /// # Errors
    /// When it cannot be signed, which is a defect of this server.
    pub fn key_document(&self) -> Result<Raw<ServerSigningKeys>, PartnerError> {
        self.inner.own_keys.document().map_err(PartnerError::Setting)
    }

    /// Asks another server, with a signed request.
    ///
    /// # Errors
    /// As [`PartnerError`] says.
    pub async fn request<R>(
        &self,
        server: &ServerName,
        request: R,
        limits: Limits,
    ) -> Result<R::IncomingResponse, PartnerError>
    where
        R: OutgoingRequest<Authentication = ServerSignatures, PathBuilder = SinglePath>,
    {
        let (parts, body) = self.signed_exchange(server, request, limits).await?.into_parts();
        let answer = http::Response::from_parts(parts, &*body);
        R::IncomingResponse::try_from_http_response(answer).map_err(|error| PartnerError::Malformed(error.to_string()))
    }

    /// As [`Partners::request`], with the answer as it came: one that is no error.
    pub(crate) async fn signed_exchange<R>(
        &self,
        server: &ServerName,
        request: R,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, PartnerError>
    where
        R: OutgoingRequest<Authentication = ServerSignatures, PathBuilder = SinglePath>,
    {
        self.permit(server).await?;
        let own = &self.inner.own_keys;
        let input = XMatrixSigningInput::new(own.server_name.clone(), server.to_owned(), own.signing_key.pair());
        // The host is a stand-in: signed are path and query.
        let request = request.try_into_http_request::<Vec<u8>>("https://server", input, ());
        let request = request.map_err(|error| PartnerError::Malformed(error.to_string()))?.map(Bytes::from);
        let (status, headers, body) = self.inner.client.exchange(server, request, limits).await?;
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Asks another server with a signed GET whose answer is read as it comes. Redirections are not followed; statuses
    /// from 400 on are errors. `limits.answer_bytes_max` is the caller's to keep.
    ///
    /// # Errors
    /// As [`PartnerError`] says.
    pub async fn stream(
        &self,
        server: &ServerName,
        path_and_query: &str,
        limits: Limits,
    ) -> Result<reqwest::Response, PartnerError> {
        let request = self.signed_get(server, path_and_query).await?;
        Client::good(self.inner.client.send(server, request, limits).await?).await
    }

    /// Asks another server with a signed GET. Redirections are not followed; statuses from 400 on are errors.
    pub(crate) async fn get_signed(
        &self,
        server: &ServerName,
        path_and_query: &str,
        limits: Limits,
    ) -> Result<Bytes, PartnerError> {
        let request = self.signed_get(server, path_and_query).await?;
        self.inner.client.exchange(server, request, limits).await.map(|(_, _, body)| body)
    }

    /// Tells another server something, with a signed POST of JSON.
    pub(crate) async fn post_signed(
        &self,
        server: &ServerName,
        path: &str,
        json: Vec<u8>,
        limits: Limits,
    ) -> Result<Bytes, PartnerError> {
        let request = Request::builder().method(Method::POST).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.body(Bytes::from(json)).map_err(|error| PartnerError::Malformed(error.to_string()))?;
        let request = self.signed(server, request).await?;
        self.inner.client.exchange(server, request, limits).await.map(|(_, _, body)| body)
    }

    async fn signed_get(&self, server: &ServerName, path_and_query: &str) -> Result<Request<Bytes>, PartnerError> {
        self.signed(server, get(path_and_query)?).await
    }

    /// The request, signed, if this server may make it.
    async fn signed(&self, server: &ServerName, mut request: Request<Bytes>) -> Result<Request<Bytes>, PartnerError> {
        self.permit(server).await?;
        let own = &self.inner.own_keys;
        let input = XMatrixSigningInput::new(own.server_name.clone(), server.to_owned(), own.signing_key.pair());
        let signed = XMatrix::sign_http_request(&request, input);
        let signed = signed.map_err(|error| PartnerError::Malformed(error.to_string()))?;
        request.headers_mut().insert(http::header::AUTHORIZATION, (&signed).into());
        Ok(request)
    }

    /// What a server has signed with a key that it publishes now, as canonical JSON without signatures. Keys that it
    /// published before are not enough.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) async fn signed_now(&self, server: &ServerName, json: &[u8]) -> Result<Vec<u8>, String> {
        let mut object: CanonicalJsonObject = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let key_ids = signing_keys(&object, server);
        if key_ids.is_empty() {
            return Err(format!("{server} has not signed it"));
        }
        self.permit(server).await.map_err(|error| error.to_string())?;
        let keys = self.inner.keyring.current(server, &key_ids).await.map_err(|error| error.to_string())?;
        if !keys.iter().any(|(id, key)| is_signed_by(&object, server, id, key)) {
            return Err(format!("no key that {server} publishes now has signed it"));
        }
        object.retain(|key, _| key != "signatures" && key != "unsigned");
        serde_json::to_vec(&object).map_err(|error| error.to_string())
    }

    /// Asks another server with a GET that is not signed.
    ///
    /// # Errors
    /// As [`PartnerError`] says.
    pub async fn get_unsigned(
        &self,
        server: &ServerName,
        path_and_query: &str,
        limits: Limits,
    ) -> Result<(StatusCode, HeaderMap, Bytes), PartnerError> {
        self.permit(server).await?;
        self.inner.client.exchange(server, get(path_and_query)?, limits).await
    }

    /// Nothing is asked of a server that is not admitted, nor of this one.
    async fn permit(&self, server: &ServerName) -> Result<(), PartnerError> {
        if server != self.own_name() && self.admit(server).await {
            Ok(())
        } else {
            Err(PartnerError::Denied(server.to_owned()))
        }
    }

    /// The keys of a server. Those of one that is not admitted are not fetched.
    async fn keys_of(&self, server: &ServerName, wanted: &[Wanted]) -> Result<Arc<Known>, PartnerError> {
        if self.permit(server).await.is_ok() {
            return self.inner.keyring.with(server, wanted).await;
        }
        self.inner.keyring.known(server).await?.ok_or_else(|| PartnerError::Denied(server.to_owned()))
    }
}

/// The keys with which a server says that it has signed something.
fn signing_keys(object: &CanonicalJsonObject, server: &ServerName) -> Vec<OwnedServerSigningKeyId> {
    let of_server = |signatures: &CanonicalJsonValue| match signatures {
        CanonicalJsonValue::Object(all) => all.get(server.as_str()).cloned(),
        _ => None,
    };
    let Some(CanonicalJsonValue::Object(signatures)) = object.get("signatures").and_then(of_server) else {
        return Vec::new();
    };
    let key_ids = signatures.keys().take(SIGNATURES_MAX);
    key_ids.filter_map(|id| OwnedServerSigningKeyId::try_from(id.as_str()).ok()).collect()
}

fn get(path_and_query: &str) -> Result<Request<Bytes>, PartnerError> {
    let request = Request::builder().method(Method::GET).uri(path_and_query).body(Bytes::new());
    request.map_err(|error| PartnerError::Malformed(error.to_string()))
}

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod tests;
