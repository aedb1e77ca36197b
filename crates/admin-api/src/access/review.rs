//! `POST /_wardroom/admin/v1/revalidate`: looks at once whether those in rooms still may be; and
//! `GET /_wardroom/admin/v1/access_review`: everybody in rooms that require roles, for those who recertify them.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wardroom_accounts::AdminScope::{Rooms, Users};
use wardroom_care::{Assessment, Revalidated};
use wardroom_rooms::RoomNid;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    csv::{NEXT_TOKEN, cell},
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

const REVALIDATE: &str = "/_wardroom/admin/v1/revalidate";
const REVIEW: &str = "/_wardroom/admin/v1/access_review";

/// Rooms of one page of the review.
const REVIEWED_ROOMS_MAX: usize = 100;
/// Members after which a page ends with the room that they are in.
const PAGE_MEMBERS: usize = 20_000;
/// Members of a room who are shown.
const MEMBERS_MAX: usize = 100_000;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .post(REVALIDATE, Rooms, "Looks at once at everybody in a room, at one user, or at all.", revalidate)
        .get(REVIEW, Users, "Lists who is in rooms that require roles, also as CSV (`format=csv`).", review)
}

async fn revalidate(state: AdminState, asked: Asked) -> Result<Json<Revalidated>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        room_id: Option<OwnedRoomId>,
        user_id: Option<OwnedUserId>,
    }
    let found = match asked.body()? {
        Body { room_id: Some(room), user_id: None } => {
            let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
            state.care.revalidate_room(view.nid).await
        }
        Body { room_id: None, user_id: Some(user) } => state.care.revalidate_user(&user).await,
        Body { room_id: None, user_id: None } => state.care.revalidate_all().await,
        Body { .. } => return Err(ApiError::invalid_param("user_id: name a room or a user, not both.")),
    };
    found.map(Json).map_err(error::of_care)
}

#[derive(Serialize)]
struct Member {
    user_id: OwnedUserId,
    #[serde(flatten)]
    assessment: Assessment,
}

#[derive(Serialize)]
struct Room {
    room_id: OwnedRoomId,
    members: Vec<Member>,
}

async fn review(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let after = asked.number("from")?.map(RoomNid::new);
    let nids = state.rooms.governed(after, REVIEWED_ROOMS_MAX).await.map_err(error::of_room)?;
    let (mut rooms, mut listed, mut next) = (Vec::with_capacity(nids.len()), 0, None);
    for (index, nid) in nids.iter().enumerate() {
        let view = state.rooms.view_of(*nid).await.map_err(error::of_room)?;
        let policy = state.care.policy(&view);
        let members = state.care.assess_members(&view, policy.as_ref(), MEMBERS_MAX).await.map_err(error::of_care)?;
        let members: Vec<_> = members.into_iter().map(|(user_id, assessment)| Member { user_id, assessment }).collect();
        listed += members.len();
        rooms.push(Room { room_id: view.id.clone(), members });
        if listed >= PAGE_MEMBERS || index + 1 == REVIEWED_ROOMS_MAX {
            next = Some(nid.get());
            break;
        }
    }
    match asked.get("format") {
        None | Some("json") => Ok(Json(json!({ "rooms": rooms, "next_token": next })).into_response()),
        Some("csv") => {
            let next = next.map(|next| [(NEXT_TOKEN, next.to_string())]);
            Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], next, csv(&rooms)).into_response())
        }
        Some(_) => Err(ApiError::invalid_param("format: neither json nor csv.")),
    }
}

/// A table for spreadsheets. Nothing in it begins with what those take for a formula.
fn csv(rooms: &[Room]) -> String {
    let mut table = String::from("room_id,user_id,verdict,roles,missing,reason\r\n");
    for room in rooms {
        for Member { user_id, assessment } in &room.members {
            let verdict = serde_json::to_value(assessment.verdict).ok();
            let verdict = verdict.as_ref().and_then(|verdict| verdict.as_str()).unwrap_or_default();
            let cells = [
                room.room_id.as_str(),
                user_id.as_str(),
                verdict,
                &assessment.roles.join(" "),
                &assessment.missing.join(" "),
                &assessment.reason,
            ];
            table.push_str(&cells.map(cell).join(","));
            table.push_str("\r\n");
        }
    }
    table
}
