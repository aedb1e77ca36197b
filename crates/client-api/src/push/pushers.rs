//! `GET /_matrix/client/v3/pushers` and `POST /_matrix/client/v3/pushers/set`.

use axum::extract::State;
use ruma::api::client::push::{
    Pusher, PusherIds, PusherInit, PusherKind, get_pushers,
    set_pusher::{
        self,
        v3::{PusherAction, PusherPostData},
    },
};
use wardroom_accounts::{AccountError, NewPusher};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::of_push;
use crate::{ClientState, caller::registered};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_pushers).endpoint(set_pusher)
}

async fn get_pushers(
    State(state): State<ClientState>,
    request: Ruma<get_pushers::v3::Request>,
) -> Result<Reply<get_pushers::v3::Response>, ApiError> {
    let pushers = state.accounts.pushers(request.session.nid).await?;
    let pushers = pushers.into_iter().map(|pusher| shown(pusher.is)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply(get_pushers::v3::Response::new(pushers)))
}

fn shown(pusher: NewPusher) -> Result<Pusher, AccountError> {
    let data = serde_json::from_str(pusher.data.get()).map_err(|_| AccountError::Damaged("pusher"))?;
    let NewPusher { pushkey, app_id, app_display_name, device_display_name, profile_tag, lang, .. } = pusher;
    let (ids, kind) = (PusherIds::new(pushkey, app_id), PusherKind::Http(data));
    Ok(PusherInit { ids, kind, app_display_name, device_display_name, profile_tag, lang }.into())
}

async fn set_pusher(
    State(state): State<ClientState>,
    request: Ruma<set_pusher::v3::Request>,
) -> Result<Reply<set_pusher::v3::Response>, ApiError> {
    registered(&request.session)?;
    state.limits.take(Class::Account, request.session.nid)?;
    match request.body.action {
        PusherAction::Post(PusherPostData { pusher, append, .. }) => {
            let pusher = new(pusher)?;
            state.push.set_pusher(&request.session, pusher, append).await.map_err(of_push)?;
        }
        PusherAction::Delete(ids) => {
            state.accounts.delete_pusher(request.session.nid, &ids.app_id, &ids.pushkey).await?;
        }
        _ => return Err(unknown_kind()),
    }
    Ok(Reply(set_pusher::v3::Response::new()))
}

fn new(pusher: Pusher) -> Result<NewPusher, ApiError> {
    let Pusher { ids, kind, app_display_name, device_display_name, profile_tag, lang, .. } = pusher;
    let PusherKind::Http(data) = kind else { return Err(unknown_kind()) };
    let data = serde_json::value::to_raw_value(&data).map_err(|_| ApiError::bad_json("data: cannot be kept."))?;
    let PusherIds { pushkey, app_id, .. } = ids;
    Ok(NewPusher { pushkey, app_id, app_display_name, device_display_name, profile_tag, lang, data })
}

fn unknown_kind() -> ApiError {
    ApiError::invalid_param("kind: must be http, or null to delete a pusher; this server sends no e-mail.")
}
