//! The client-server API with or without an audit trail, over HTTP and on a real store, for measuring what the trail costs.
//! A server always has one: only here can it be left out. `unwaited` is one whose reads do not wait for the disk
//! (`audit.reads_before_answers`).
//!
//! ```text
//! cargo run --release --workspace --example trail_share -- audited|unwaited|silent DIRECTORY
//! ```
//!
//! Prints the URL at which it answers, and serves until its standard input ends. Whoever reaches it may register; it binds
//! the loopback address alone.
#![expect(clippy::print_stdout, reason = "prints where it answers")]

use std::{error::Error, future::Future, path::PathBuf, sync::Arc};

use axum::Router;
use ruma::{owned_server_name, owned_user_id, room_version_id};
use tokio_util::sync::CancellationToken;
use wardroom_accounts::{Accounts, Registration};
use wardroom_audit::{AuditLog, AuditSettings};
use wardroom_care::{Attestations, Care, CareGate, Judge};
use wardroom_client_api::{ClientSettings, ClientState, router};
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_event::SigningKey;
use wardroom_push::Push;
use wardroom_rooms::{RetentionSettings, Rooms};
use wardroom_store::{Catalogue, MasterKey, Options, Store};
use wardroom_sync::Syncer;
use wardroom_web::{RateLimits, RequestMetrics, shell};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let usage = "usage: trail_share audited|unwaited|silent DIRECTORY";
    let mut arguments = std::env::args().skip(1);
    let trail = match arguments.next().as_deref() {
        Some("audited") => Some(AuditSettings::default()),
        Some("unwaited") => Some(AuditSettings { reads_before_answers: false, ..AuditSettings::default() }),
        Some("silent") => None,
        _ => return Err(usage.into()),
    };
    let dir = tempfile::tempdir_in(arguments.next().map(PathBuf::from).ok_or(usage)?)?;
    let tables = [
        wardroom_audit::TABLES,
        wardroom_accounts::TABLES,
        wardroom_rooms::TABLES,
        wardroom_push::TABLES,
        wardroom_care::TABLES,
    ];
    let store = Store::open(dir.path(), &MasterKey::generate(), Catalogue::new(&tables)?, Options::default()).await?;
    let audit = match trail {
        Some(settings) => AuditLog::open(store.clone(), Arc::new(SystemClock), settings).await?,
        None => AuditLog::silent(),
    };
    let (numbering, windows) = (audit.clone(), audit.clone());
    tokio::spawn(async move { numbering.run().await });
    tokio::spawn(async move { windows.run_windows().await });
    let routes = routes(store, audit).await?;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", socket.local_addr()?);
    axum::serve(socket, routes).with_graceful_shutdown(end_of_input()).await?;
    Ok(())
}

/// Ends when whoever started this closes the pipe, or dies.
fn end_of_input() -> impl Future<Output = ()> + Send {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own: the runtime waits for its blocking tasks when it stops.
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(ended);
    });
    async move { drop(end.await) }
}

/// The API over a store, as a server has it that neither federates nor has an identity provider.
async fn routes(store: Store, audit: AuditLog) -> Result<Router, Failure> {
    let (server_name, clock): (_, SharedClock) = (owned_server_name!("a.example"), Arc::new(SystemClock));
    let mut settings = wardroom_accounts::Settings::new(server_name.clone());
    settings.registration = Registration { open: true, ..Registration::default() };
    let accounts = Accounts::new(store.clone(), Arc::clone(&clock), audit.clone(), settings).await?;
    let access = wardroom_care::Settings {
        service_user: owned_user_id!("@_access:a.example"),
        display_name: "Access".to_owned(),
        recheck_ms: 60_000,
        removal_percent_max: 100,
        attest_to: Vec::new(),
    };
    let judge = Judge::load(&store, Arc::clone(&clock), audit.clone(), access.service_user.clone()).await?;
    let attestations = Attestations::new(store.clone(), Arc::clone(&clock), judge.clone(), Vec::new());
    let gate = CareGate::new(judge.clone(), attestations.clone());
    let settings = wardroom_rooms::Settings {
        server_name: server_name.clone(),
        default_version: room_version_id!("12"),
        signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
        holds: Default::default(),
        retention: RetentionSettings::default(),
    };
    let rooms = Rooms::new(store.clone(), Arc::clone(&clock), Arc::new(gate), audit.clone(), settings);
    let services = (rooms.clone(), accounts.clone());
    let care = Care::new(store.clone(), Arc::clone(&clock), services, (judge, attestations), audit.clone(), access);
    let sync = Syncer::new(store.clone(), rooms.clone(), accounts.clone(), Arc::clone(&clock));
    let unread = sync.unread().clone();
    let push = Push::new(store, unread, Arc::clone(&clock), audit.clone(), wardroom_push::Settings::default())?;
    let state = ClientState {
        federation: None,
        sso: None,
        care,
        accounts,
        rooms,
        sync,
        push,
        audit,
        limits: Arc::new(RateLimits::new(Arc::clone(&clock), false)),
        settings: Arc::new(ClientSettings::new(server_name, "http://a.example".to_owned())),
        clock,
        stopping: CancellationToken::new(),
    };
    Ok(shell(router(state), Arc::new(RequestMetrics::default())))
}
