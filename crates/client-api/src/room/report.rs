//! `POST /rooms/{roomId}/report/{eventId}`, `POST /rooms/{roomId}/report` and `POST /users/{userId}/report`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#reporting-content)).

use axum::extract::State;
use ruma::api::client::{
    reporting::report_user::v3 as report_user,
    room::{report_content::v3 as report_content, report_room::v3 as report_room},
};
use serde::Deserialize;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{actor, registered};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(report_content).endpoint(report_room).endpoint(report_user)
}

async fn report_content(
    State(state): State<ClientState>,
    Ruma { body: request, session, json, .. }: Ruma<report_content::Request>,
) -> Result<Reply<report_content::Response>, ApiError> {
    state.limits.take(Class::Report, session.nid)?;
    let score = score(&json)?;
    let reason = request.reason.unwrap_or_default();
    let reported =
        state.rooms.report_event(registered(&session)?, &request.room_id, &request.event_id, reason, score).await;
    reported.map_err(error::of_room)?;
    Ok(Reply(report_content::Response::new()))
}

/// How bad the event is, from -100 to 0, which clients could say before Matrix 1.18.
fn score(json: &[u8]) -> Result<Option<i8>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        score: Option<i64>,
    }
    let body: Body = serde_json::from_slice(json)
        .map_err(|_| ApiError::bad_json("`score` is wrong: it must be a whole number from -100 to 0."))?;
    let score = body.score.map(|score| i8::try_from(score).ok().filter(|score| (-100..=0).contains(score)));
    score.map(|score| score.ok_or_else(|| ApiError::invalid_param("score: must be from -100 to 0."))).transpose()
}

async fn report_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<report_room::Request>,
) -> Result<Reply<report_room::Response>, ApiError> {
    state.limits.take(Class::Report, session.nid)?;
    let reported = state.rooms.report_room(registered(&session)?, &request.room_id, request.reason).await;
    reported.map_err(error::of_room)?;
    Ok(Reply(report_room::Response::new()))
}

async fn report_user(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<report_user::Request>,
) -> Result<Reply<report_user::Response>, ApiError> {
    state.limits.take(Class::Report, session.nid)?;
    registered(&session)?;
    let user = &request.user_id;
    // Users of other servers are known by the rooms they are in; to ask whether they exist is not for this endpoint.
    let exists = !state.accounts.is_local(user) || state.accounts.user(user).await?.is_some();
    state.rooms.report_user(actor(&session), user, exists, request.reason).await.map_err(error::of_room)?;
    Ok(Reply(report_user::Response::new()))
}

#[cfg(test)]
mod tests {
    use super::score;

    #[test]
    fn scores_of_old_clients_are_whole_numbers_from_minus_a_hundred_to_zero() {
        for (json, expected) in
            [("{}", None), (r#"{"score":null}"#, None), (r#"{"score":-100}"#, Some(-100)), (r#"{"score":0}"#, Some(0))]
        {
            assert_eq!(score(json.as_bytes()).unwrap(), expected, "{json}");
        }
        for json in
            [r#"{"score":1}"#, r#"{"score":-101}"#, r#"{"score":1000}"#, r#"{"score":"-1"}"#, r#"{"score":-1.5}"#]
        {
            assert_eq!(score(json.as_bytes()).unwrap_err().status(), 400, "{json}");
        }
    }
}
