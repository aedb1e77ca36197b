//! Asking the server.

use std::{
    env,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use http::{Method, StatusCode};
use serde_json::Value;
use url::{Host, Url};
use wardroom_outbound::{Outbound, OutboundError, OutboundSettings, Ranges};
use zeroize::Zeroizing;

use super::{
    super::{Failure, secret},
    AdminError,
    shown::cleaned,
};
use crate::{
    causes::in_full,
    config::{self, ADMIN_TOKEN, Config},
    serves::Serves,
};

/// How long the server may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where the server is, and who asks it.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Where the server is; otherwise a listener of --config that serves the administration.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<Url>,
    /// The configuration file of the server, which runs on this machine.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with the access token of an administrator, its first line ("-" is standard input); otherwise the variable
    /// WARDROOM_ADMIN_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with certificates (PEM) of authorities beyond the system's.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The server, as one who asks knows it.
#[derive(Debug)]
pub(super) struct Server {
    outbound: Outbound,
    base: Url,
    token: Option<Zeroizing<String>>,
}

/// A request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    method: Method,
    /// Segments of the path, not encoded.
    path: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &[&'a str]) -> Self {
        Self { method: Method::GET, path: path.to_vec(), query: Vec::new(), body: None }
    }

    pub(super) fn delete(path: &[&'a str]) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(super) fn put(path: &[&'a str], body: Value) -> Self {
        Self { method: Method::PUT, body: Some(body), ..Self::get(path) }
    }

    pub(super) fn post(path: &[&'a str], body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    /// With a body.
    pub(super) fn saying(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// With a parameter.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With a parameter, where there is one.
    pub(super) fn with_any(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl Connection {
    /// The file that the token is kept in, where one is named.
    pub(super) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    fn token(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = &self.token_file {
            return secret::first_line("--token-file", path);
        }
        match env::var(ADMIN_TOKEN) {
            Ok(token) if !token.is_empty() => Ok(Zeroizing::new(token)),
            _ => Err(format!(
                "no access token: name its file with --token-file (`wardroom admin login NAME --token-file FILE` makes \
                 one), or set {ADMIN_TOKEN}"
            )
            .into()),
        }
    }

    fn base(&self) -> Result<Url, Failure> {
        let url = match (&self.url, &self.config) {
            (Some(url), _) => url,
            (None, Some(path)) => return local_url(&config::load(path)?, path),
            (None, None) => return Err("no server: say where it is with --url, or name its --config".into()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("--url: must have no name and no password".into());
        }
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => Ok(url.clone()),
            "http" if local => Ok(url.clone()),
            "http" => {
                Err("--url: without TLS the token could be read on its way; only this machine is asked so".into())
            }
            _ => Err("--url: must begin with https:// or http://".into()),
        }
    }
}

/// Where a server of this configuration can be asked on this machine.
fn local_url(config: &Config, path: &Path) -> Result<Url, Failure> {
    let plain =
        config.listener.iter().find(|listener| listener.tls.is_none() && listener.serves.contains(&Serves::Admin));
    let address = plain.map(|listener| listener.address).ok_or_else(|| {
        format!(
            "{}: no listener without TLS serves the administration; say where the server is with --url",
            path.display()
        )
    })?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, address.port())).parse::<Url>()?)
}

impl Server {
    /// The server, for somebody who has a token.
    pub(super) fn signed_in(connection: &Connection) -> Result<Self, AdminError> {
        let token = connection.token().map_err(AdminError::Usage)?;
        Ok(Self::unknown(connection)?.with_token(token))
    }

    /// The server, for somebody who has none yet.
    pub(super) fn unknown(connection: &Connection) -> Result<Self, AdminError> {
        let made = || -> Result<Self, Failure> {
            let (base, ca) = (connection.base()?, connection.ca.as_deref());
            let unreadable =
                |path: &Path, why: &(dyn Error + 'static)| format!("--ca {}: {}", path.display(), in_full(why));
            let extra_ca = match ca {
                Some(path) => vec![std::fs::read(path).map_err(|error| unreadable(path, &error))?],
                None => Vec::new(),
            };
            let outbound = Outbound::new(OutboundSettings {
                ranges: Ranges::default(),
                extra_ca,
                verify_certificates: true,
                // A token is not carried elsewhere.
                redirects_max: 0,
                timeout: ANSWER_TIMEOUT,
            });
            let outbound = outbound.map_err(|error| ca.map_or(in_full(&error), |path| unreadable(path, &error)))?;
            Ok(Self { outbound, base, token: None })
        };
        made().map_err(AdminError::Usage)
    }

    /// The server, for who has this token.
    pub(super) fn with_token(self, token: Zeroizing<String>) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Asks, and gives what the server answers.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Value, AdminError> {
        let (status, bytes) = self.answer(ask).await?;
        understood(status, serde_json::from_slice(&bytes).ok())
    }

    /// Asks for what is no JSON.
    pub(super) async fn bytes(&self, ask: Ask<'_>) -> Result<Vec<u8>, AdminError> {
        let (status, bytes) = self.answer(ask).await?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        understood(status, serde_json::from_slice(&bytes).ok()).map(|_| Vec::new())
    }

    /// Asks, and gives the status and the body of the answer.
    async fn answer(&self, ask: Ask<'_>) -> Result<(StatusCode, bytes::Bytes), AdminError> {
        let Ask { method, path, query, body } = ask;
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let unreachable = |source| AdminError::Unreachable { url: self.base.to_string(), source };
        let mut request = self.outbound.request(method, url).map_err(unreachable)?;
        if let Some(token) = &self.token {
            request = request.bearer_auth(&**token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        async {
            let response = Outbound::send(request).await?;
            let status = response.status();
            Ok::<_, OutboundError>((status, Outbound::read(response, ANSWER_BYTES_MAX).await?))
        }
        .await
        .map_err(unreachable)
    }

    /// Asks for page after page, and gives all that is in their `list`. Each names the next as `next`.
    pub(super) async fn pages(
        &self,
        first: impl Fn() -> Ask<'static>,
        list: &str,
        next: &str,
    ) -> Result<Vec<Value>, AdminError> {
        let (mut all, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut page = self.ask(first().with_any("from", from.clone())).await?;
            if let Some(Value::Array(found)) = page.get_mut(list).map(Value::take) {
                all.extend(found);
            }
            let place = match page.get(next) {
                Some(Value::String(place)) => place.clone(),
                Some(Value::Number(place)) => place.to_string(),
                _ => return Ok(all),
            };
            if from.as_ref() == Some(&place) {
                return Err(AdminError::Refused("the server names the same page again and again".to_owned()));
            }
            from = Some(place);
        }
    }
}

/// What an answer says: its content, or the sentence with which the server refused.
fn understood(status: StatusCode, content: Option<Value>) -> Result<Value, AdminError> {
    let Some(content) = content else {
        let sentence =
            format!("no answer of a Wardroom: {status}, and no JSON; is this where the administration is served?");
        return Err(AdminError::Refused(sentence));
    };
    if status.is_success() {
        return Ok(content);
    }
    let field = |name: &str| content.get(name).and_then(Value::as_str).map(cleaned);
    let (code, sentence) = (field("errcode").unwrap_or_default(), field("error").unwrap_or_default());
    let advice = match code.as_str() {
        "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => " Sign in anew with `wardroom admin login`.",
        "M_UNRECOGNIZED" => " Is this where the administration is served?",
        _ => "",
    };
    Err(AdminError::Refused(format!("the server refused: {sentence} ({} {code}){advice}", status.as_u16())))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::{Connection, local_url, understood};
    use crate::config::Config;

    fn base(url: &str) -> Result<String, String> {
        let connection = Connection { url: Some(url.parse().unwrap()), config: None, token_file: None, ca: None };
        connection.base().map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_are_not_sent_in_the_clear() {
        for good in ["https://a.example", "http://127.0.0.1:8008", "http://localhost:8008", "http://[::1]:8008"] {
            assert!(base(good).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://10.0.0.1",
            "ftp://a.example",
            "http://localhost.a.example",
            "https://me:secret@a.example",
        ] {
            let refusal = base(bad).unwrap_err();
            assert!(refusal.contains("--url") && !refusal.contains("secret"), "{bad}: {refusal}");
        }
    }

    #[test]
    fn the_server_of_a_configuration_is_found() {
        let mut config = Config::named("a.example".try_into().unwrap());
        let at = |config: &Config| local_url(config, "x.toml".as_ref()).map(|url| url.to_string());
        assert_eq!(at(&config).unwrap(), "http://127.0.0.1:8008/");
        config.listener[0].address = "[::]:80".parse().unwrap();
        assert_eq!(at(&config).unwrap(), "http://[::1]/");
        config.listener[0].serves.clear();
        assert!(at(&config).unwrap_err().to_string().contains("--url"));
    }

    #[test]
    fn refusals_are_told_without_control_characters() {
        let content = json!({ "errcode": "M_FORBIDDEN", "error": "No\u{1b}[2J." });
        let error = understood(StatusCode::FORBIDDEN, Some(content)).unwrap_err();
        assert_eq!(error.to_string(), "the server refused: No\u{fffd}[2J. (403 M_FORBIDDEN)");
        assert!(understood(StatusCode::OK, None).is_err());
    }
}
