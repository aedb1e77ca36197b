//! `[oidc]` and `[[oidc.providers]]`

use std::{collections::BTreeSet, fs, path::PathBuf};

use ipnet::IpNet;
use ruma::OwnedMxcUri;
use serde::{Deserialize, Serialize};
use url::Url;
use wardroom_sso::{Algorithm, ClientAuth, Endpoints, ProviderSettings, is_pointer};

/// Longest id and brand of a provider, in bytes (client-server API, section "Client login via SSO").
const ID_BYTES_MAX: usize = 255;

/// Single sign-on with OpenID Connect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Oidc {
    /// Beginnings of the URLs of clients that get their token without the user being asked.
    pub(crate) client_allow: Vec<String>,
    /// Whether providers may be spoken to without TLS.
    pub(crate) allow_http: bool,
    /// Addresses of providers that are spoken to although `federation.deny_ip_ranges` has them.
    pub(crate) allow_ip_ranges: Vec<IpNet>,
    /// Certificate authorities of providers, beyond the system's.
    pub(crate) extra_ca: Vec<PathBuf>,
    /// The providers.
    pub(crate) providers: Vec<Provider>,
}

/// One identity provider.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// Short name in URLs; never to be changed or used for another provider.
    pub(crate) id: String,
    /// Name for people.
    pub(crate) name: String,
    /// An mxc:// URI; empty for none.
    #[serde(default)]
    pub(crate) icon: String,
    /// Style of the button; empty for none.
    #[serde(default)]
    pub(crate) brand: String,
    /// Issuer identifier, exactly as the provider's tokens have it.
    pub(crate) issuer: String,
    /// By what name this server is registered there.
    pub(crate) client_id: String,
    /// The secret that goes with it.
    #[serde(default)]
    pub(crate) client_secret: String,
    /// Or the file in which it stands.
    #[serde(default)]
    pub(crate) client_secret_file: String,
    /// How it is sent: "basic" or "post"; empty for what the provider announces.
    #[serde(default)]
    pub(crate) client_auth: String,
    /// What is asked for.
    #[serde(default = "default_scopes")]
    pub(crate) scopes: Vec<String>,
    /// Whether the endpoints are found at the issuer.
    #[serde(default = "yes")]
    pub(crate) discovery: bool,
    /// Where they are otherwise.
    #[serde(default)]
    pub(crate) authorization_endpoint: String,
    #[serde(default)]
    pub(crate) token_endpoint: String,
    #[serde(default)]
    pub(crate) jwks_uri: String,
    #[serde(default)]
    pub(crate) userinfo_endpoint: String,
    /// Whether further claims are fetched from the userinfo endpoint.
    #[serde(default)]
    pub(crate) userinfo: bool,
    /// Algorithms by which tokens may be signed.
    #[serde(default = "default_algorithms")]
    pub(crate) algorithms: Vec<String>,
    /// JSON pointers to claims.
    #[serde(default = "default_localpart_claim")]
    pub(crate) localpart_claim: String,
    #[serde(default = "default_display_name_claim")]
    pub(crate) display_name_claim: String,
    #[serde(default = "default_email_claim")]
    pub(crate) email_claim: String,
    /// Contexts of authentication of which one is demanded.
    #[serde(default)]
    pub(crate) acr_values: Vec<String>,
    /// Methods of authentication of which one is demanded.
    #[serde(default)]
    pub(crate) amr_values: Vec<String>,
    /// How long ago users may have signed in at the provider, in seconds; 0 for any time.
    #[serde(default)]
    pub(crate) max_age_seconds: u64,
    /// Whether people get existing accounts of their name.
    #[serde(default)]
    pub(crate) allow_existing_users: bool,
}

const fn yes() -> bool {
    true
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"].map(str::to_owned).to_vec()
}

fn default_localpart_claim() -> String {
    "/preferred_username".to_owned()
}

fn default_display_name_claim() -> String {
    "/name".to_owned()
}

fn default_email_claim() -> String {
    "/email".to_owned()
}

impl Oidc {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.client_allow.iter().any(|beginning| !beginning.contains(':')) {
            problems.push("oidc.client_allow: each must begin with a scheme, as in https://chat.a.example/".to_owned());
        }
        let mut ids = BTreeSet::new();
        let mut issuers = BTreeSet::new();
        for provider in &self.providers {
            if !ids.insert(&provider.id) {
                problems.push("oidc.providers.id: two providers have the same".to_owned());
            }
            if !issuers.insert(&provider.issuer) {
                problems.push("oidc.providers.issuer: two providers have the same".to_owned());
            }
            problems.extend(provider.problems(self.allow_http));
        }
        problems
    }

    /// Files with secrets.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let authorities = self.extra_ca.iter().map(|path| ("oidc.extra_ca", path.clone()));
        let secrets = self.providers.iter().filter(|provider| !provider.client_secret_file.is_empty());
        let secrets =
            secrets.map(|provider| ("oidc.providers.client_secret_file", PathBuf::from(&provider.client_secret_file)));
        authorities.chain(secrets)
    }
}

impl Provider {
    fn problems(&self, allow_http: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong =
            |key: &str, what: &str| problems.push(format!("oidc.providers.{key} of \"{}\": {what}", self.id));
        let is_id = |text: &str| {
            text.len() <= ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if self.id.is_empty() || !is_id(&self.id) {
            wrong("id", "must be letters, digits, - and _");
        }
        if self.name.is_empty() {
            wrong("name", "must not be empty");
        }
        if !self.icon.is_empty() && !<&ruma::MxcUri>::from(self.icon.as_str()).is_valid() {
            wrong("icon", "must be an mxc:// URI");
        }
        if !is_id(&self.brand) {
            wrong("brand", "must be letters, digits, - and _");
        }
        if self.client_id.is_empty() {
            wrong("client_id", "must not be empty");
        }
        if !self.client_secret.is_empty() && !self.client_secret_file.is_empty() {
            wrong("client_secret", "is given, and client_secret_file too");
        }
        if !["", "basic", "post"].contains(&self.client_auth.as_str()) {
            wrong("client_auth", "must be \"basic\", \"post\" or empty");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            wrong("scopes", "must have \"openid\"");
        }
        for name in self.algorithms.iter().filter(|name| Algorithm::named(name).is_none()) {
            wrong("algorithms", &format!("{name} is not known"));
        }
        if self.algorithms.is_empty() {
            wrong("algorithms", "must not be empty");
        }
        for (key, pointer) in [
            ("localpart_claim", &self.localpart_claim),
            ("display_name_claim", &self.display_name_claim),
            ("email_claim", &self.email_claim),
        ] {
            if !is_pointer(pointer) {
                wrong(key, "must be a JSON pointer, as in /preferred_username");
            }
        }
        let urls = [
            ("issuer", &self.issuer, true),
            ("authorization_endpoint", &self.authorization_endpoint, !self.discovery),
            ("token_endpoint", &self.token_endpoint, !self.discovery),
            ("jwks_uri", &self.jwks_uri, !self.discovery),
            ("userinfo_endpoint", &self.userinfo_endpoint, !self.discovery && self.userinfo),
        ];
        for (key, url, needed) in urls {
            let safe = |url: Url| url.scheme() == "https" || allow_http && url.scheme() == "http";
            if (needed || !url.is_empty()) && !Url::parse(url).is_ok_and(safe) {
                wrong(key, "must be an https:// URL");
            }
        }
        problems
    }

    /// What is wrong with the file of the secret.
    ///
    /// # Errors
    /// When it cannot be read.
    fn secret(&self) -> std::io::Result<Option<String>> {
        let secret = match self.client_secret_file.as_str() {
            "" => self.client_secret.clone(),
            file => fs::read_to_string(file)?.trim().to_owned(),
        };
        Ok(Some(secret).filter(|secret| !secret.is_empty()))
    }

    /// The provider, as single sign-on wants it.
    ///
    /// # Errors
    /// When the file with the secret cannot be read.
    pub(crate) fn settings(&self) -> std::io::Result<ProviderSettings> {
        let url = |text: &str| Url::parse(text).ok();
        let endpoints = || {
            Some(Endpoints {
                authorization: url(&self.authorization_endpoint)?,
                token: url(&self.token_endpoint)?,
                jwks: url(&self.jwks_uri)?,
                userinfo: url(&self.userinfo_endpoint),
            })
        };
        Ok(ProviderSettings {
            id: self.id.clone(),
            name: self.name.clone(),
            icon: Some(OwnedMxcUri::from(self.icon.as_str())).filter(|icon| icon.is_valid()),
            brand: Some(self.brand.clone()).filter(|brand| !brand.is_empty()),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.secret()?,
            client_auth: match self.client_auth.as_str() {
                "basic" => Some(ClientAuth::Basic),
                "post" => Some(ClientAuth::Post),
                _ => None,
            },
            scopes: self.scopes.clone(),
            endpoints: if self.discovery { None } else { endpoints() },
            userinfo: self.userinfo,
            algorithms: self.algorithms.iter().filter_map(|name| Algorithm::named(name)).collect(),
            localpart_claim: self.localpart_claim.clone(),
            display_name_claim: self.display_name_claim.clone(),
            email_claim: self.email_claim.clone(),
            acr_values: self.acr_values.clone(),
            amr_values: self.amr_values.clone(),
            max_age_seconds: Some(self.max_age_seconds).filter(|seconds| *seconds > 0),
            allow_existing_users: self.allow_existing_users,
        })
    }

    /// A provider with the defaults.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let text = "id = \"x\"\nname = \"X\"\nissuer = \"https://x.example\"\nclient_id = \"wardroom\"";
        toml::from_str(text).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{Oidc, Provider};

    #[test]
    fn values_are_checked_and_keys_named() {
        assert_eq!(Provider::example().problems(false), Vec::<String>::new());
        let problem = |change: fn(&mut Provider)| {
            let mut provider = Provider::example();
            change(&mut provider);
            Oidc { providers: vec![provider], ..Oidc::default() }.problems().join("\n")
        };
        for (key, change) in [
            ("id", (|p| p.id = "a/b".to_owned()) as fn(&mut Provider)),
            ("name", |p| p.name.clear()),
            ("icon", |p| p.icon = "https://x.example/a.png".to_owned()),
            ("issuer", |p| p.issuer = "http://x.example".to_owned()),
            ("client_id", |p| p.client_id.clear()),
            ("client_auth", |p| p.client_auth = "jwt".to_owned()),
            ("scopes", |p| p.scopes.clear()),
            ("algorithms", |p| p.algorithms = vec!["none".to_owned()]),
            ("localpart_claim", |p| p.localpart_claim = "sub".to_owned()),
            ("token_endpoint", |p| p.discovery = false),
            ("client_secret", |p| {
                p.client_secret = "x".to_owned();
                p.client_secret_file = "y".to_owned();
            }),
        ] {
            assert!(problem(change).contains(&format!("oidc.providers.{key} of")), "{key}: {}", problem(change));
        }
        let two = Oidc { providers: vec![Provider::example(), Provider::example()], ..Oidc::default() };
        assert_eq!(two.problems().len(), 2, "ids and issuers are different");
    }
}
