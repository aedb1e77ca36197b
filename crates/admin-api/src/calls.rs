//! Calls of the administration, as the audit trail has them: nobody looks or acts here without a record.
//!
//! Of a call that changes something the record is durable before anything is done, so that it is there even if the server
//! dies meanwhile; where the call then fails, a second record says how. Of one that only looks the record is durable before
//! the answer leaves. What is changed leaves records of its own besides.

use std::future::Future;

use http::{Method, StatusCode};
use ruma::{RoomId, UserId};
use wardroom_accounts::{AdminScope, AdminScopes, Session};
use wardroom_audit::{Act, Outcome, Record};
use wardroom_web::ApiError;

use crate::{AdminState, error};

/// A call of an endpoint.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    /// Path pattern.
    path: &'static str,
    /// What stands in the place of its variables.
    parts: Vec<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: &'static str, parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { method, path, parts: parts.into_iter().collect() }
    }

    /// Lets an administrator with the scope do it.
    pub(crate) async fn carried_out<F, Fut, R>(
        self,
        state: &AdminState,
        session: &Session,
        scope: AdminScope,
        work: F,
    ) -> Result<R, ApiError>
    where
        F: FnOnce(AdminScopes) -> Fut,
        Fut: Future<Output = Result<R, ApiError>>,
    {
        let scopes = match admitted(state, session, scope).await {
            Ok(scopes) => scopes,
            Err(refusal) => {
                let refused = state.audit.denied(self.record().why("not permitted")).await;
                return refused.map_err(error::of_audit).and(Err(refusal));
            }
        };
        let looks = self.method == Method::GET;
        if !looks {
            state.audit.write(self.record()).await.map_err(error::of_audit)?;
        }
        let answer = work(scopes).await;
        let outcome = answer.as_ref().err().map_or(Outcome::Success, |error| outcome_of(error.status()));
        if looks || outcome != Outcome::Success {
            state.audit.write(self.record().outcome(outcome)).await.map_err(error::of_audit)?;
        }
        answer
    }

    fn record(&self) -> Record {
        let record = Record::of(Act::AdminCall).detail(format!("{} {}", self.method, self.path));
        let variables = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut server = None;
        variables.zip(&self.parts).fold(record, |record, (name, value)| match name {
            "user_id" if <&UserId>::try_from(*value).is_ok() => record.user(*value),
            "room_id" | "room_id_or_alias" if <&RoomId>::try_from(*value).is_ok() => record.room(*value),
            "event_id" if value.starts_with('$') => record.event(*value),
            "server_name" => {
                server = Some(*value);
                record
            }
            "media_id" => match server {
                Some(server) => record.media(format!("mxc://{server}/{value}")),
                None => record,
            },
            "destination" => record.servers(vec![(*value).to_owned()]),
            "role" | "emergency_id" | "alarm_id" | "hold_id" | "report_id" | "delete_id" | "purge_id" | "redact_id" => {
                record.name(*value)
            }
            // What else stands in paths may be anything: addresses, tokens.
            _ => record,
        })
    }
}

/// How a call went, by its status.
fn outcome_of(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Serious,
        status if status.is_client_error() => Outcome::Minor,
        _ => Outcome::Major,
    }
}

/// Refuses who is no administrator, or one without this scope.
async fn admitted(state: &AdminState, session: &Session, scope: AdminScope) -> Result<AdminScopes, ApiError> {
    if !session.admin {
        return Err(ApiError::forbidden("You are no administrator of this server."));
    }
    let scopes = state.accounts.admin_scopes(session.nid).await?;
    if scopes.has(scope) {
        return Ok(scopes);
    }
    Err(ApiError::forbidden(format!("Your administrator account does not have the scope `{scope}`.")))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::Call;

    #[test]
    fn what_a_call_is_about_is_taken_from_its_path_and_nothing_else_is() {
        let path = "/_synapse/admin/v1/media/{server_name}/{media_id}";
        let record = Call::new(Method::DELETE, path, ["a.example", "abc"]).record();
        assert_eq!(record.on.media.as_deref(), Some("mxc://a.example/abc"));
        assert_eq!(record.on.detail.as_deref(), Some("DELETE /_synapse/admin/v1/media/{server_name}/{media_id}"));
        let path = "/_synapse/admin/v1/registration_tokens/{token}";
        let record = Call::new(Method::GET, path, ["secret"]).record();
        assert!(!format!("{record:?}").contains("secret"));
        let path = "/x/{user_id}/{room_id}";
        let record = Call::new(Method::GET, path, ["@a:b.example", "not a room"]).record();
        assert_eq!((record.on.user.as_deref(), record.on.room), (Some("@a:b.example"), None));
    }
}
