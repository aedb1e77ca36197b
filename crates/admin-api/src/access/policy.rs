//! `GET`, `PUT` and `DELETE /_wardroom/admin/v1/rooms/{room}/policy`, and `POST .../policy/evaluate`: what a policy
//! would mean for the people in a room, without changing anything.

use std::sync::Arc;

use axum::Json;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_care::{Assessment, RoomPolicy, Standing};
use wardroom_rooms::RoomView;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

/// The policy of one room.
const POLICY: &str = "/_wardroom/admin/v1/rooms/{room_id}/policy";
const EVALUATE: &str = "/_wardroom/admin/v1/rooms/{room_id}/policy/evaluate";

/// Users whom one dry run judges.
const EVALUATED_MAX: usize = 10_000;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(POLICY, Rooms, "Shows which roles a room requires.", show)
        .put(POLICY, Rooms, "Has a room require roles.", set)
        .delete(POLICY, Rooms, "Ends that a room requires roles.", remove)
        .post(EVALUATE, Rooms, "Tells whom a policy would keep in a room and whom not; changes nothing.", evaluate)
}

pub(super) async fn view(state: &AdminState, asked: &Asked) -> Result<Arc<RoomView>, ApiError> {
    let room = asked.room_id(0)?;
    state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let view = view(&state, &asked).await?;
    let content = state.care.policy_content(&view).await.map_err(error::of_care)?;
    let content = content.ok_or_else(|| ApiError::not_found("The room requires no role."))?;
    let problem = match state.care.policy(&view) {
        Some(RoomPolicy::Unknown { reason }) => Some(reason),
        Some(RoomPolicy::Known(_)) | None => None,
    };
    Ok(Json(json!({ "policy": content, "problem": problem })))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (view, mut content): (_, Map<String, Value>) = (view(&state, &asked).await?, asked.body()?);
    let content = match content.remove("template") {
        None => Value::Object(content),
        Some(name) => {
            let template = name.as_str().and_then(|name| state.care.templates().get(name));
            template.ok_or_else(|| ApiError::invalid_param("template: there is none of this name."))?.policy
        }
    };
    let event = state.care.set_policy(&view, &content).await.map_err(error::of_care)?;
    Ok(Json(json!({ "event_id": event })))
}

async fn remove(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let view = view(&state, &asked).await?;
    state.care.remove_policy(&view).await.map_err(error::of_care)?;
    Ok(Json(json!({})))
}

#[derive(Serialize)]
struct Judged {
    user_id: OwnedUserId,
    #[serde(flatten)]
    assessment: Assessment,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    compliant: usize,
    non_compliant: usize,
    inconclusive: usize,
}

async fn evaluate(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        /// Instead of the room's own.
        policy: Option<Value>,
        /// Instead of those in the room.
        users: Option<Vec<OwnedUserId>>,
    }
    let (view, Body { policy, users }) = (view(&state, &asked).await?, asked.body()?);
    let policy = match policy {
        None => state.care.policy(&view),
        Some(content) => match RoomPolicy::of(&content) {
            Some(RoomPolicy::Unknown { reason }) => {
                return Err(ApiError::bad_json(format!("policy.{reason}.")));
            }
            policy => policy,
        },
    };
    let judged = match users {
        Some(users) if users.len() > EVALUATED_MAX => {
            return Err(ApiError::invalid_param(format!("users: must have at most {EVALUATED_MAX} entries.")));
        }
        Some(users) => {
            let judge = |user: OwnedUserId| {
                let assessment = state.care.assess_in(&view, &user, policy.as_ref());
                (user, assessment)
            };
            users.into_iter().map(judge).collect()
        }
        None => {
            let members = state.care.assess_members(&view, policy.as_ref(), EVALUATED_MAX).await;
            members.map_err(error::of_care)?
        }
    };
    let mut totals = Totals::default();
    let results: Vec<Judged> = judged
        .into_iter()
        .map(|(user_id, assessment)| {
            *match assessment.verdict {
                Standing::Compliant => &mut totals.compliant,
                Standing::NonCompliant => &mut totals.non_compliant,
                Standing::Inconclusive => &mut totals.inconclusive,
            } += 1;
            Judged { user_id, assessment }
        })
        .collect();
    Ok(Json(json!({ "totals": totals, "results": results })))
}
