//! Sessions that end by themselves.

use ruma::device_id;
use wardroom_accounts::{AccountError, Accounts, LoginRequest, TokenError};
use wardroom_audit::AuditLog;

use crate::world::{World, world_with};

const MINUTE_MS: u64 = 60 * 1_000;

async fn idle_after(minutes: u64) -> World {
    world_with(|settings| settings.tokens.idle_ms = Some(minutes * MINUTE_MS)).await
}

/// Uses a token, as somebody does who is there, or as the client does by itself.
async fn ask(accounts: &Accounts, token: &str, uses: bool) -> Result<(), TokenError> {
    let session = accounts.authenticate(token).await?;
    accounts.note_seen(&session, None, uses);
    Ok(())
}

#[tokio::test]
async fn an_idle_session_ends_and_others_do_not() {
    let world = idle_after(10).await;
    let alice = world.user("alice").await;
    let (ward, phone) = (world.login(&alice).await, world.login(&alice).await);
    for _ in 0..3 {
        world.clock.advance_ms(5 * MINUTE_MS);
        ask(&world.accounts, &phone.access_token, true).await.unwrap();
        // What the client asks for by itself keeps nobody signed in.
        let _ = ask(&world.accounts, &ward.access_token, false).await;
    }
    ask(&world.accounts, &phone.access_token, true).await.unwrap();
    assert!(matches!(ask(&world.accounts, &ward.access_token, true).await, Err(TokenError::Expired)));
    // The device is there for whoever signs in on it again.
    let request = LoginRequest { device_id: Some(&ward.device), ..LoginRequest::default() };
    let again = world.accounts.login_as(&alice.id, &request).await.unwrap();
    ask(&world.accounts, &again.access_token, true).await.unwrap();
}

#[tokio::test]
async fn refreshing_keeps_nobody_signed_in() {
    let world = idle_after(10).await;
    let alice = world.user("alice").await;
    let mut tokens = world.login_refreshable(&alice).await.refresh_token;
    for _ in 0..2 {
        world.clock.advance_ms(4 * MINUTE_MS);
        let refreshed = world.accounts.refresh(tokens.as_deref().unwrap()).await.unwrap();
        ask(&world.accounts, &refreshed.access_token, false).await.unwrap();
        tokens = refreshed.refresh_token;
    }
    world.clock.advance_ms(2 * MINUTE_MS);
    let refused = world.accounts.refresh(tokens.as_deref().unwrap()).await;
    assert!(matches!(refused, Err(AccountError::ExpiredRefreshToken)));
}

#[tokio::test]
async fn use_is_remembered_over_a_restart() {
    let world = idle_after(10).await;
    let alice = world.user("alice").await;
    let login = world.login_on(&alice, device_id!("WARD")).await;
    world.clock.advance_ms(8 * MINUTE_MS);
    ask(&world.accounts, &login.access_token, true).await.unwrap();
    world.accounts.flush_seen().await.unwrap();
    let again =
        Accounts::new(world.store.clone(), world.clock.clone(), AuditLog::silent(), world.accounts.settings().clone())
            .await
            .unwrap();
    world.clock.advance_ms(8 * MINUTE_MS);
    ask(&again, &login.access_token, false).await.unwrap();
    world.clock.advance_ms(2 * MINUTE_MS);
    assert!(matches!(ask(&again, &login.access_token, false).await, Err(TokenError::Expired)));
}

#[tokio::test]
async fn a_session_ends_at_its_age_whatever_is_done_with_it() {
    let world = world_with(|settings| settings.tokens.session_ms = Some(10 * MINUTE_MS)).await;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    world.clock.advance_ms(9 * MINUTE_MS);
    let refreshed = world.accounts.refresh(login.refresh_token.as_deref().unwrap()).await.unwrap();
    ask(&world.accounts, &refreshed.access_token, true).await.unwrap();
    world.clock.advance_ms(MINUTE_MS);
    assert!(matches!(ask(&world.accounts, &refreshed.access_token, true).await, Err(TokenError::Expired)));
    let refused = world.accounts.refresh(refreshed.refresh_token.as_deref().unwrap()).await;
    assert!(matches!(refused, Err(AccountError::ExpiredRefreshToken)));
}
