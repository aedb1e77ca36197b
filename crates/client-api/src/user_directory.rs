//! `POST /user_directory/search`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#user-directory)).

use axum::extract::State;
use ruma::{OwnedMxcUri, api::client::user_directory::search_users::v3 as search_users};
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
        candidates.into_iter().filter(|user| *user != asker).take(enough).collect()
    } else {
        state.rooms.acquaintances(asker, &candidates, enough).await.map_err(error::of_room)?
    };
    let limited = seen.len() > limit || found.cut;
    seen.truncate(limit);
    let mut results = Vec::with_capacity(seen.len());
    for user in seen {
        // Closed since it was found: then there is no such user any more.
        let Some((id, profile)) = state.accounts.profile_by_nid(wardroom_accounts::UserNid::new(user.get())).await?
        else {
            continue;
        };
        let mut result = search_users::User::new(id);
        result.display_name = profile.displayname;
        result.avatar_url = profile.avatar_url.map(OwnedMxcUri::from);
        results.push(result);
    }
    Ok(Reply(search_users::Response::new(results, limited)))
}
