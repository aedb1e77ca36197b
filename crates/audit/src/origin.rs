//! Who asks, from where: carried beside a request, so that every record says it.
//!
//! The web layer opens the scope of a request ([`scope`]) and says who it is once that is known ([`authenticated`]). What a
//! request starts in a task of its own takes the origin with it ([`carry`]). Outside of any request it is the server itself.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

tokio::task_local! {
    static ORIGIN: Arc<Mutex<Origin>>;
}

/// Who acts. Everything may be unknown: then it is the server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Who {
    /// As whom another acts: the user whose token an administrator uses.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The id of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The partner server that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The system that asks in its own name: a directory, a command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The subject at the identity provider, where the session began there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The Matrix user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Who asks, and by which request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who asks.
    pub who: Who,
    /// The id of the request.
    pub request: Option<String>,
}

/// Runs the work of a request with this origin.
pub async fn scope<F: Future>(origin: Origin, work: F) -> F::Output {
    ORIGIN.scope(Arc::new(Mutex::new(origin)), work).await
}

/// Takes the origin of the current task into another one.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let origin = ORIGIN.try_with(Arc::clone).unwrap_or_default();
    ORIGIN.scope(origin, work)
}

/// Says who asks, once that is known. Outside of any request this says nothing.
pub fn authenticated(change: impl FnOnce(&mut Who)) {
    // No scope is no request: nobody to name.
    ORIGIN.try_with(|origin| change(&mut origin.lock().who)).ok();
}

/// Who asks now; the server itself outside of any request.
pub fn current() -> Origin {
    ORIGIN.try_with(|origin| origin.lock().clone()).unwrap_or_default()
}

/// Looks at who asks now.
pub(crate) fn inspect<R>(look: impl FnOnce(&Origin) -> R) -> R {
    match ORIGIN.try_with(Arc::clone) {
        Ok(origin) => look(&origin.lock()),
        Err(_) => look(&Origin::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Who, authenticated, carry, current, scope};

    #[tokio::test]
    async fn the_origin_goes_with_the_request_and_no_further() {
        authenticated(|who| who.user = Some("@nobody:a.example".to_owned()));
        assert_eq!(current(), Origin::default());
        let who = Who { ip: Some("192.0.2.1".to_owned()), ..Who::default() };
        let origin = Origin { who, request: Some("7".to_owned()) };
        let work = async {
            authenticated(|who| who.user = Some("@alice:a.example".to_owned()));
            let other = tokio::spawn(carry(async { current() })).await.unwrap();
            let lost = tokio::spawn(async { current() }).await.unwrap();
            (current(), other, lost)
        };
        let (here, carried, lost) = scope(origin, work).await;
        assert_eq!(here.who.user.as_deref(), Some("@alice:a.example"));
        assert_eq!(here.who.ip.as_deref(), Some("192.0.2.1"));
        assert_eq!(carried, here);
        assert_eq!(lost, Origin::default());
    }
}
