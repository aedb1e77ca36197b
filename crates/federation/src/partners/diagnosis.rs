//! Why two servers do not speak to each other, step by step and in words.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header::DATE};
use ruma::{ServerName, api::federation::discovery::get_server_version};
use serde::Deserialize;
use wardroom_clock::SharedClock;

use super::{
    Limits, PartnerError, PartnerSettings, Policy,
    client::Client,
    discovery::{self, Destination, Reach},
    dns::Place,
    http_date,
    key_document::KeyDocument,
};

/// Clocks that differ by more are worth a word: keys and events are dated.
const CLOCKS_DIFFER_MS: u64 = 60 * 1_000;
/// Clocks that differ by more make keys look expired.
const CLOCKS_DIFFER_MUCH_MS: u64 = 60 * 60 * 1_000;
/// Keys that end sooner are worth a word.
const KEYS_END_SOON_MS: u64 = 60 * 60 * 1_000;
/// What one request may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), answer_bytes_max: 256 * 1024, ignore_backoff: true };

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and yet somebody should look.
    Note,
    /// The servers cannot speak to each other because of this.
    Bad,
}

/// One step of a diagnosis.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub step: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub sentence: String,
    /// What to do about it; empty where nothing needs doing.
    pub advice: &'static str,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, step: &'static str, sentence: impl Into<String>) {
        self.0.push(Finding { step, verdict: Verdict::Good, sentence: sentence.into(), advice: "" });
    }

    fn note(&mut self, step: &'static str, sentence: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { step, verdict: Verdict::Note, sentence: sentence.into(), advice });
    }

    fn bad(&mut self, step: &'static str, sentence: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { step, verdict: Verdict::Bad, sentence: sentence.into(), advice });
    }
}

/// Looks at everything that has to be right so that this server can ask another one. Asks it for its version and its
/// keys; changes nothing.
///
/// # Errors
/// When a setting is wrong, so that no request can be made at all.
pub async fn diagnose(
    own_name: &ServerName,
    server: &ServerName,
    settings: &PartnerSettings,
    clock: SharedClock,
) -> Result<Vec<Finding>, PartnerError> {
    let client = Client::new(settings, SharedClock::clone(&clock))?;
    let mut findings = Findings::default();
    policy(own_name, server, settings, &mut findings);
    let mut trail = Vec::new();
    let destination = discovery::find(server, &client.network, &mut trail).await;
    for sentence in trail {
        findings.good("finding", sentence);
    }
    if !addresses(&client, &destination, &mut findings).await {
        return Ok(findings.0);
    }
    match ask(&client, server, "/_matrix/federation/v1/version").await {
        Ok((headers, body)) => {
            connected(&destination, settings, server, &mut findings);
            version(&body, &mut findings);
            clocks(&headers, clock.now_ms(), &mut findings);
        }
        Err(error) => {
            unreachable(&error, &mut findings);
            if !matches!(error, PartnerError::Refused { .. } | PartnerError::Malformed(_)) {
                return Ok(findings.0);
            }
        }
    }
    match ask(&client, server, "/_matrix/key/v2/server").await {
        Ok((_, body)) => keys(server, body, clock.now_ms(), &mut findings),
        Err(error) => findings.bad(
            "keys",
            format!("its keys cannot be fetched: {error}"),
            "Whatever answers at that place does not serve /_matrix/key; its operator should look at the reverse proxy.",
        ),
    }
    Ok(findings.0)
}

async fn ask(client: &Client, server: &ServerName, path: &str) -> Result<(HeaderMap, Bytes), PartnerError> {
    let request = Request::builder().uri(path).body(Bytes::new());
    let request = request.map_err(|error| PartnerError::Malformed(error.to_string()))?;
    let (_, headers, body) = client.exchange(server, request, LIMITS).await?;
    Ok((headers, body))
}

fn policy(own_name: &ServerName, server: &ServerName, settings: &PartnerSettings, findings: &mut Findings) {
    let policy = Policy { allow: settings.allow.clone(), deny: settings.deny.clone() };
    if own_name == server {
        let advice = "Name the partner, not this server.";
        findings.bad("policy", format!("{server} is this server itself"), advice);
    } else if !settings.enabled {
        let advice = "Set federation.enabled = true.";
        findings.bad("policy", "this server speaks to no others: federation.enabled is false", advice);
    } else if policy.admits(server) {
        let besides = "unless an administrator decided otherwise over /_wardroom/admin/v1/federation/policy";
        findings.good("policy", format!("federation.allow and federation.deny admit {server}, {besides}"));
    } else {
        let advice = "Add its name to federation.allow, or take the pattern that names it out of federation.deny.";
        findings.bad("policy", format!("federation.allow and federation.deny do not admit {server}"), advice);
    }
    if settings.list.is_some() {
        let advice = "If requests are refused with 403, ask whoever keeps the list whether the partner is on it.";
        findings.note("policy", "it must stand on the signed federation list too (federation.list)", advice);
    }
    if !settings.verify_certificates {
        let advice = "Set federation.verify_certificates = true on any server that holds real data.";
        findings.note("policy", "certificates are not checked: anybody on the way may pose as the partner", advice);
    }
}

/// Whether any address may be connected to.
async fn addresses(client: &Client, destination: &Destination, findings: &mut Findings) -> bool {
    const REFUSED: &str = "The address lies in federation.deny_ip_ranges. If the partner is within your own network, take its \
                           range out of that list.";
    const NO_ADDRESS: &str = "Check the name for typing errors, and the DNS of both sides: the name must have an A or AAAA \
                              record that this machine can resolve.";
    match &destination.reach {
        Reach::Address(address) if client.ranges.admit(address.ip()) => {
            findings.good("address", format!("it is the address {address}"));
            true
        }
        Reach::Address(address) => {
            findings.bad("address", format!("{address} is an address that this server does not connect to"), REFUSED);
            false
        }
        Reach::Places(places) => {
            let mut any = false;
            for Place { name, port } in places {
                match client.network.dns.addresses(name).await {
                    Ok(found) => {
                        for address in found {
                            if client.ranges.admit(address) {
                                any = true;
                                findings.good("address", format!("{name} is {address}, port {port}"));
                            } else {
                                let sentence = format!("{name} is {address}, to which this server does not connect");
                                findings.note("address", sentence, REFUSED);
                            }
                        }
                    }
                    Err(error) => findings.note("address", format!("{name} is not found: {error}"), NO_ADDRESS),
                }
            }
            if !any {
                findings.bad("address", "there is no address to connect to", NO_ADDRESS);
            }
            any
        }
    }
}

fn connected(destination: &Destination, settings: &PartnerSettings, server: &ServerName, findings: &mut Findings) {
    let name = &destination.tls_name;
    if settings.verify_certificates {
        findings.good("TLS", format!("the connection stands, and the certificate is a valid one of {name}"));
    } else {
        findings.good("TLS", "the connection stands; the certificate was not checked");
    }
    if settings.partners.iter().any(|partner| partner.name == server && !partner.pins.is_empty()) {
        findings.good("TLS", "its certificate is one of those in federation.partner");
    }
}

/// Why no answer came, with what to do about it.
fn unreachable(error: &PartnerError, findings: &mut Findings) {
    let sentence = error.to_string();
    let lower = sentence.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (step, advice) = if matches!(error, PartnerError::Refused { .. } | PartnerError::Malformed(_)) {
        let advice = "Something answers there, but no Matrix server: its reverse proxy should pass /_matrix/federation and \
                      /_matrix/key on.";
        ("version", advice)
    } else if has(&["pinned"]) {
        let advice = "The partner has a new certificate, or somebody is in between. Ask the partner for the SHA-256 of its \
                      certificate by another way, and change federation.partner only then.";
        ("TLS", advice)
    } else if has(&["unknownissuer", "unknown issuer"]) {
        let advice = "Its certificate is of an authority that this machine does not know. Add the authority's certificate to \
                      federation.extra_ca; if the authority is public, the partner does not send the certificates between.";
        ("TLS", advice)
    } else if has(&["expired"]) {
        ("TLS", "Its certificate has expired (or the clock of this machine is wrong): the partner must renew it.")
    } else if has(&["not valid for name", "notvalidforname"]) {
        let advice = "Its certificate is of another name. It must be of the name after delegation, which the steps above show: \
                      not of the name that an SRV record leads to.";
        ("TLS", advice)
    } else if has(&["certificaterequired", "certificate required"]) {
        let advice = "The partner asks for a certificate of this server: set federation.client_certificate to one that it \
                      trusts.";
        ("TLS", advice)
    } else if has(&["certificate", "handshake", "tls", "alert", "invalidcontenttype", "corrupt message"]) {
        ("TLS", "Something listens there, but TLS fails. Is it the port of a plain HTTP listener?")
    } else if has(&["refused"]) {
        let advice = "Nothing listens at that port. Is the partner running, and is it told elsewhere (delegation, SRV) than \
                      where it listens?";
        ("connection", advice)
    } else {
        let advice = "A firewall drops the packets, or the partner is down. Outgoing connections to that address and port must \
                      be allowed.";
        ("connection", advice)
    };
    findings.bad(step, sentence, advice);
}

fn version(body: &[u8], findings: &mut Findings) {
    #[derive(Deserialize)]
    struct Answer {
        server: Option<get_server_version::v1::Server>,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { server: Some(server) }) => {
            let unknown = || "unknown".to_owned();
            // What the other side says of itself is printed on a terminal.
            let plain = |text: Option<String>| {
                text.map_or_else(unknown, |text| text.chars().filter(|char| !char.is_control()).take(100).collect())
            };
            findings.good("version", format!("it runs {}, version {}", plain(server.name), plain(server.version)));
        }
        Ok(Answer { server: None }) => findings.good("version", "it does not say which software it runs"),
        Err(_) => findings.bad(
            "version",
            "what it says of its version is no JSON of a Matrix server",
            "Something else answers at that place: its operator should look at the reverse proxy.",
        ),
    }
}

fn clocks(headers: &HeaderMap, now_ms: u64, findings: &mut Findings) {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(http_date::unix_seconds);
    let Some(date) = date else {
        findings.note("clock", "it does not say what time it is there", "");
        return;
    };
    let differ_ms = now_ms.abs_diff(date.saturating_mul(1_000));
    let sentence = format!("the clocks of the two servers differ by {} s", differ_ms / 1_000);
    let advice = "One of the two clocks is wrong: both machines should synchronise theirs (NTP).";
    if differ_ms > CLOCKS_DIFFER_MUCH_MS {
        findings.bad("clock", sentence, advice);
    } else if differ_ms > CLOCKS_DIFFER_MS {
        findings.note("clock", sentence, advice);
    } else {
        findings.good("clock", "the clocks of the two servers agree");
    }
}

fn keys(server: &ServerName, body: Bytes, now_ms: u64, findings: &mut Findings) {
    let document = match KeyDocument::read(server, body) {
        Ok(document) => document,
        Err(reason) => {
            let advice = "Its server_name may be set to another name than the one it is reached by, or a reverse proxy leads \
                          to another server.";
            findings.bad("keys", format!("its key document does not count: {reason}"), advice);
            return;
        }
    };
    let ids: Vec<&str> = document.current.iter().map(|(id, _)| id.as_str()).collect();
    let ids = ids.join(", ");
    if document.valid_until_ts < now_ms {
        let advice =
            "Its keys have expired, or one of the two clocks is wrong. The partner's server should be restarted.";
        findings.bad("keys", format!("its key {ids} has expired"), advice);
    } else if document.valid_until_ts - now_ms < KEYS_END_SOON_MS {
        let advice = "If it stays so, look at the clocks of both servers.";
        findings.note("keys", format!("its key {ids} is valid for less than an hour"), advice);
    } else {
        let hours = (document.valid_until_ts - now_ms) / (60 * 60 * 1_000);
        findings.good("keys", format!("it signs with {ids}, valid for {hours} hours"));
    }
}
