//! `POST /user_directory/search`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#user-directory)).

use axum::extract::State;
use ruma::{OwnedMxcUri, api::client::user_directory::search_users::v3 as search_users};
use wardroom_audit::{Act, Record};
use wardroom_rooms::UserNid;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{ClientState, caller::registered, error};

/// Users that one answer lists.
const RESULTS_MAX: usize = 50;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(search_users)
}

async fn search_users(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<search_users::Request>,
) -> Result<Reply<search_users::Response>, ApiError> {
    state.limits.take(Class::Search, session.nid)?;
    let asker = registered(&session)?.nid;
    let limit = usize::try_from(request.limit).unwrap_or(RESULTS_MAX).min(RESULTS_MAX);
    let found = state.accounts.find_users(&request.search_term).await?;
    let candidates: Vec<UserNid> = found.users.iter().map(|user| UserNid::new(user.get())).collect();
    // One more than is wanted tells whether there are more.
    let enough = limit + 1;
    let mut seen = if state.settings.search_all_users {
        // Of other servers' users only those are known, and shown, who are met in rooms.
        let mut seen = Vec::new();
        for user in candidates.into_iter().filter(|user| *user != asker) {
            if seen.len() >= enough {
                break;
            }
            let local = state.accounts.user_by_nid(wardroom_accounts::UserNid::new(user.get())).await?.is_some();
            if local || !state.rooms.acquaintances(asker, &[user], 1).await.map_err(error::of_room)?.is_empty() {
                seen.push(user);
            }
        }
        seen
    } else {
        state.rooms.acquaintances(asker, &candidates, enough).await.map_err(error::of_room)?
    };
    let limited = seen.len() > limit || found.cut;
    seen.truncate(limit);
    let mut results = Vec::with_capacity(seen.len());
    for user in seen {
        let local = state.accounts.profile_by_nid(wardroom_accounts::UserNid::new(user.get())).await?;
        let (id, displayname, avatar_url) = match local {
            Some((id, profile)) => (id, profile.displayname, profile.avatar_url),
            // Of another server, or closed since it was found: then there is no such user any more.
            None => match state.rooms.profile_shown_to(asker, user).await.map_err(error::of_room)? {
                Some((id, profile)) if !state.accounts.is_local(&id) => (id, profile.displayname, profile.avatar_url),
                _ => continue,
            },
        };
        let mut result = search_users::User::new(id);
        result.display_name = displayname;
        result.avatar_url = avatar_url.map(OwnedMxcUri::from);
        results.push(result);
    }
    let record = Record::of(Act::Directory).detail("user_directory").query(request.search_term);
    state.note_asked(record, results.len()).await?;
    Ok(Reply(search_users::Response::new(results, limited)))
}
