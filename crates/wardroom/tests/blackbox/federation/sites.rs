//! Servers that speak to each other, and what they have to agree on.

use std::time::Instant;

use wardroom_testkit::{Actor, Config, FaultProxy, Server, User, Value, encode, json, raw, wait_until};

use crate::{BINARY, SOON};

/// The room versions that all of this holds for.
pub(crate) const VERSIONS: [&str; 3] = ["10", "11", "12"];

/// A hospital: a server, and an administrator who may look at room graphs.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) proxy: Option<FaultProxy>,
    admin: User,
}

impl Site {
    /// A server that others reach directly, under its address.
    pub(crate) fn start() -> Self {
        Self::new(Config::default().federating_as("127.0.0.1"), None)
    }

    /// A server that others reach directly, under a host name.
    pub(crate) fn named() -> Self {
        Self::new(Config::default().federating_as("localhost"), None)
    }

    /// A server that others reach directly, under a host name, and that takes guests.
    pub(crate) fn with_guests() -> Self {
        Self::new(Config::default().federating_as("localhost").set("registration.guests", "true"), None)
    }

    /// A server that others reach through a proxy, which can misbehave.
    pub(crate) fn behind_proxy() -> Self {
        let proxy = FaultProxy::start();
        Self::new(Config::default().federating_behind(proxy.name()), Some(proxy))
    }

    /// A server with this configuration, behind this proxy if there is one.
    pub(crate) fn new(config: Config, proxy: Option<FaultProxy>) -> Self {
        let server = Server::start_with(BINARY, config);
        if let Some(proxy) = &proxy {
            proxy.point_at(&server.base());
        }
        let anonymous = server.anonymous();
        let secret = "a shared secret of the tests";
        let admin = anonymous.register_with_secret(secret, &wardroom_testkit::unique("admin"), true).ok();
        let admin = User::from_answer(server.http(), &admin, "correct horse battery staple");
        Self { server, proxy, admin }
    }

    /// A user of this server.
    #[track_caller]
    pub(crate) fn user(&self, prefix: &str) -> User {
        self.server.user(prefix)
    }

    /// The server's name.
    pub(crate) fn name(&self) -> &str {
        self.server.name()
    }

    /// The proxy in front.
    #[track_caller]
    pub(crate) fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("the site is behind a proxy")
    }

    /// Starts the server again after it was stopped or killed.
    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
        if let Some(proxy) = &self.proxy {
            proxy.point_at(&self.server.base());
        }
    }

    /// What this server says of a room's graph: the ends and a digest of the state. `None` where it does not know the
    /// room.
    #[track_caller]
    pub(crate) fn graph(&self, room: &str) -> Option<Value> {
        let reply = self.admin.get(raw(&format!("/_wardroom/admin/v1/rooms/{}/graph", encode(room))));
        (reply.status == 200).then(|| reply.ok())
    }
}

/// A room of a version that a user made, open to everybody.
#[track_caller]
pub(crate) fn public_room(creator: &User, version: &str) -> String {
    creator.create_room(json!({ "preset": "public_chat", "room_version": version }))
}

/// Joins a room of another server, by way of that server.
#[track_caller]
pub(crate) fn join_via(user: &User, room: &str, site: &Site) {
    try_join_via(user, room, site).ok();
}

/// As [`join_via`], with the answer.
#[track_caller]
pub(crate) fn try_join_via(user: &User, room: &str, site: &Site) -> wardroom_testkit::Reply {
    let target = wardroom_testkit::v3(&["join", room]).query("server_name", site.name()).query("via", site.name());
    user.post(target, json!({}))
}

/// Waits until a user's history of a room has an event.
#[track_caller]
pub(crate) fn sees(user: &User, room: &str, event: &str) -> Value {
    wait_until(&format!("{} sees {event}", user.id), SOON, || {
        let reply = user.try_event(room, event);
        (reply.status == 200).then(|| reply.json())
    })
}

/// Waits until all sites agree on the ends of a room's graph and on its state.
#[track_caller]
pub(crate) fn agree(room: &str, sites: &[&Site]) -> Value {
    let deadline = Instant::now() + 3 * SOON;
    loop {
        let graphs: Vec<Option<Value>> = sites.iter().map(|site| site.graph(room)).collect();
        let shown = |graph: &Option<Value>| {
            graph.as_ref().map(|graph| (graph["extremities"].clone(), graph["state_digest"].clone()))
        };
        if graphs[0].is_some() && graphs.iter().all(|graph| shown(graph) == shown(&graphs[0])) {
            return graphs[0].clone().expect("just seen");
        }
        assert!(Instant::now() < deadline, "the servers do not agree on {room}: {graphs:#?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// How often a scripted server was asked something about a room.
pub(crate) fn asked_about(peer: &wardroom_testkit::Peer, path_part: &str, room: &str) -> usize {
    peer.asked(path_part).iter().filter(|asked| asked.segments().iter().any(|segment| segment == room)).count()
}
