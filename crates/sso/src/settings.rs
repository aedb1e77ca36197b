//! What an operator decides about identity providers.

use std::fmt;

use ruma::OwnedMxcUri;
use url::Url;

use crate::Algorithm;

/// Settings of [`Sso`](crate::Sso).
#[derive(Clone, Debug)]
pub struct SsoSettings {
    /// Where browsers reach this server, without a slash at the end.
    pub public_url: String,
    /// The providers; the first is for clients that know of one only.
    pub providers: Vec<ProviderSettings>,
    /// Beginnings of the URLs of clients to which a login token is handed without asking the user.
    pub client_allow: Vec<String>,
    /// Whether providers may be spoken to without TLS.
    pub allow_http: bool,
}

/// One identity provider.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Short name in URLs.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Picture for the button.
    pub icon: Option<OwnedMxcUri>,
    /// Style of the button (`identity_providers[].brand` of the specification).
    pub brand: Option<String>,
    /// Issuer identifier: exactly as the provider's tokens have it.
    pub issuer: String,
    /// By what name this server is registered there.
    pub client_id: String,
    /// The secret that goes with it; public clients have none.
    pub client_secret: Option<String>,
    /// How the secret is sent; as the provider's metadata have it when not given.
    pub client_auth: Option<ClientAuth>,
    /// What is asked for; `openid` is among them.
    pub scopes: Vec<String>,
    /// Where things are; found by discovery when not given.
    pub endpoints: Option<Endpoints>,
    /// Whether the userinfo endpoint is asked for further claims.
    pub userinfo: bool,
    /// Algorithms by which tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// JSON pointer to the claim of which a new user's localpart is made.
    pub localpart_claim: String,
    /// JSON pointer to the claim with the display name of a new user.
    pub display_name_claim: String,
    /// JSON pointer to the claim with the e-mail address.
    pub email_claim: String,
    /// Contexts of authentication of which one must have been met (`acr`); empty for any.
    pub acr_values: Vec<String>,
    /// Methods of authentication of which one must have been used (`amr`, RFC 8176); empty for any.
    pub amr_values: Vec<String>,
    /// How long ago the user may have proved who they are, in seconds.
    pub max_age_seconds: Option<u64>,
    /// Whether an account that has the localpart already becomes that of a person who comes for the first time.
    pub allow_existing_users: bool,
}

impl fmt::Debug for ProviderSettings {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("id", &self.id).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// How a client proves to the token endpoint who it is (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: in the header `Authorization`.
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

/// Where a provider's endpoints are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Where browsers are sent.
    pub authorization: Url,
    /// Where codes become tokens.
    pub token: Url,
    /// Where its keys are.
    pub jwks: Url,
    /// Where further claims are, if anywhere.
    pub userinfo: Option<Url>,
}
