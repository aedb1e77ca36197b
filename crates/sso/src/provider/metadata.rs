//! Where a provider's endpoints are (OpenID Connect Discovery 1.0, section 3).

use serde::Deserialize;
use url::Url;

use crate::{ClientAuth, Endpoints, ProviderFault};

/// What is used of a provider's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization: Url,
    pub(crate) token: Url,
    pub(crate) jwks: Url,
    pub(crate) userinfo: Option<Url>,
    /// How the token endpoint wants the secret.
    pub(crate) client_auth: ClientAuth,
    /// Whether every answer names its issuer (RFC 9207).
    pub(crate) names_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads a discovery document. `checked` reads a URL that may be spoken to.
    pub(crate) fn read(
        document: &[u8],
        issuer: &str,
        checked: impl Fn(&str) -> Option<Url>,
    ) -> Result<Self, ProviderFault> {
        let document: Document =
            serde_json::from_slice(document).map_err(|_| ProviderFault::Malformed("the discovery document"))?;
        if document.issuer != issuer {
            return Err(ProviderFault::OtherIssuer);
        }
        let endpoint = |url: &str, name| checked(url).ok_or(ProviderFault::Malformed(name));
        let methods = document.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.as_ref().is_some_and(|methods| methods.iter().any(|method| method == name));
        Ok(Self {
            authorization: endpoint(&document.authorization_endpoint, "authorization_endpoint")?,
            token: endpoint(&document.token_endpoint, "token_endpoint")?,
            jwks: endpoint(&document.jwks_uri, "jwks_uri")?,
            userinfo: match &document.userinfo_endpoint {
                Some(url) => Some(endpoint(url, "userinfo_endpoint")?),
                None => None,
            },
            // Without a word it is the header (section 3).
            client_auth: match !has("client_secret_basic") && has("client_secret_post") {
                true => ClientAuth::Post,
                false => ClientAuth::Basic,
            },
            names_issuer: document.authorization_response_iss_parameter_supported,
        })
    }
}

impl From<&Endpoints> for Metadata {
    fn from(endpoints: &Endpoints) -> Self {
        Self {
            authorization: endpoints.authorization.clone(),
            token: endpoints.token.clone(),
            jwks: endpoints.jwks.clone(),
            userinfo: endpoints.userinfo.clone(),
            client_auth: ClientAuth::Basic,
            names_issuer: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::Metadata;
    use crate::{ClientAuth, ProviderFault};

    fn read(changes: &[(&str, serde_json::Value)]) -> Result<Metadata, ProviderFault> {
        let mut document = json!({
            "issuer": "https://a.example", "authorization_endpoint": "https://a.example/auth",
            "token_endpoint": "https://a.example/token", "jwks_uri": "https://a.example/keys",
        });
        for (name, value) in changes {
            document[*name] = value.clone();
        }
        let checked = |url: &str| Url::parse(url).ok().filter(|url| url.scheme() == "https");
        Metadata::read(document.to_string().as_bytes(), "https://a.example", checked)
    }

    #[test]
    fn a_document_is_that_of_its_issuer_and_names_safe_endpoints() {
        let metadata = read(&[]).unwrap();
        assert_eq!(metadata.client_auth, ClientAuth::Basic);
        assert!(!metadata.names_issuer && metadata.userinfo.is_none());
        assert!(matches!(read(&[("issuer", json!("https://a.example/"))]), Err(ProviderFault::OtherIssuer)));
        for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            let plain = read(&[(endpoint, json!("http://a.example/x"))]);
            assert!(matches!(plain, Err(ProviderFault::Malformed(name)) if name == endpoint), "{endpoint}");
        }
        let posts = read(&[("token_endpoint_auth_methods_supported", json!(["client_secret_post"]))]).unwrap();
        assert_eq!(posts.client_auth, ClientAuth::Post);
    }
}
