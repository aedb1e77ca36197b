//! Profiles.

use ruma::{mxc_uri, user_id};
use wardroom_accounts::{AccountError, DISPLAY_NAME_CHARS_MAX, Profile};

use crate::world::world;

#[tokio::test]
async fn a_profile_begins_with_the_user_name_then_is_set_then_unset() {
    let world = world().await;
    let alice = world.user("alice").await;
    let begun = Profile { displayname: Some("alice".to_owned()), avatar_url: None };
    assert_eq!(world.accounts.profile(&alice.id).await.unwrap(), Some(begun));
    let profile = world.accounts.set_displayname(&alice.id, Some("Dr. Alice Ärztin")).await.unwrap();
    assert_eq!(profile.displayname.as_deref(), Some("Dr. Alice Ärztin"));
    let url = mxc_uri!("mxc://hospital-a.example/portrait");
    let profile = world.accounts.set_avatar_url(&alice.id, Some(url)).await.unwrap();
    assert_eq!(world.accounts.profile(&alice.id).await.unwrap(), Some(profile.clone()));
    assert_eq!(profile.avatar_url.as_deref(), Some(url.as_str()));
    assert_eq!(profile.displayname.as_deref(), Some("Dr. Alice Ärztin"));
    world.accounts.set_displayname(&alice.id, None).await.unwrap();
    let profile = world.accounts.set_avatar_url(&alice.id, None).await.unwrap();
    assert_eq!(profile, Profile::default());
}

#[tokio::test]
async fn only_users_of_this_server_have_one_here() {
    let world = world().await;
    world.user("alice").await;
    for nobody in [user_id!("@bob:hospital-a.example"), user_id!("@alice:elsewhere.example")] {
        assert_eq!(world.accounts.profile(nobody).await.unwrap(), None);
        let result = world.accounts.set_displayname(nobody, Some("x")).await;
        assert!(matches!(result, Err(AccountError::UnknownUser)));
    }
}

#[tokio::test]
async fn profiles_have_limits() {
    let world = world().await;
    let alice = world.user("alice").await;
    let longest = "ä".repeat(DISPLAY_NAME_CHARS_MAX);
    world.accounts.set_displayname(&alice.id, Some(&longest)).await.unwrap();
    let result = world.accounts.set_displayname(&alice.id, Some(&format!("{longest}x"))).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    let result = world.accounts.set_avatar_url(&alice.id, Some("https://example.org/x".into())).await;
    assert!(matches!(result, Err(AccountError::Invalid { field: "avatar_url", .. })));
    let url = format!("mxc://hospital-a.example/{}", "x".repeat(1_000));
    let result = world.accounts.set_avatar_url(&alice.id, Some(url.as_str().into())).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    assert_eq!(world.accounts.profile(&alice.id).await.unwrap().unwrap().displayname, Some(longest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    let world = world().await;
    let alice = world.user("alice").await;
    for round in 0..50 {
        let name = format!("Alice {round}");
        let url = format!("mxc://hospital-a.example/{round}");
        let (named, pictured) = tokio::join!(
            world.accounts.set_displayname(&alice.id, Some(&name)),
            world.accounts.set_avatar_url(&alice.id, Some(url.as_str().into())),
        );
        named.unwrap();
        pictured.unwrap();
        let expected = Profile { displayname: Some(name), avatar_url: Some(url) };
        assert_eq!(world.accounts.profile(&alice.id).await.unwrap(), Some(expected));
    }
}
