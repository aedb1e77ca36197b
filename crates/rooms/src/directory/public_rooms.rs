//! The published rooms of this server (specification, `/publicRooms`), largest first.
//!
//! What is shown of a room is its [`Summary`], which is kept in memory, so that an answer costs the number of
//! published rooms in look-ups, and reads only rooms that changed.

use std::{cmp::Reverse, fmt, str::FromStr, sync::Arc};

use ruma::{
    directory::{PublicRoomsChunk, RoomTypeFilter},
    room::RoomType,
};
use wardroom_store::Scan;

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{BadToken, RoomNid, number},
    room::RoomView,
    summary::Summary,
    tables::LISTED,
};

/// Rooms on a page, at most.
pub const PUBLIC_ROOMS_PAGE_MAX: usize = 500;
/// Rooms on a page where the request does not say.
const PUBLIC_ROOMS_PAGE_DEFAULT: usize = 100;
/// Bytes of names and topics after which a page ends all the same.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;
/// Published rooms that the directory shows; the oldest, where there are more.
const PUBLIC_ROOMS_MAX: usize = 10_000;
/// Bytes of a name or topic that are searched.
const SEARCHED_BYTES_MAX: usize = 2_000;
/// What is asked of the directory.
#[derive(Clone, Debug, Default)]
pub struct PublicQuery {
    /// Rooms wanted; [`PUBLIC_ROOMS_PAGE_MAX`] at most are given.
    pub limit: Option<u64>,
    /// Where to go on: `next_batch` or `prev_batch` of an earlier page.
    pub since: Option<String>,
    /// Only rooms with this text in name, topic or canonical alias, whatever its case.
    pub search_term: Option<String>,
    /// Only rooms of these types; of any type where it is empty.
    pub room_types: Vec<RoomTypeFilter>,
}

/// A page of the directory.
#[derive(Clone, Debug)]
pub struct PublicPage {
    /// The rooms, largest first.
    pub chunk: Vec<PublicRoomsChunk>,
    /// Where the next page begins, if there is one.
    pub next_batch: Option<String>,
    /// Where the page before this ends, if there is one.
    pub prev_batch: Option<String>,
    /// Number of published rooms, whether they pass the filter or not.
    pub total_room_count_estimate: u64,
}

/// Whether a room passes the filter.
fn passes(summary: &Summary, search_term: Option<&str>, room_types: &[RoomTypeFilter]) -> bool {
    let searched = |text: &str| text[..text.floor_char_boundary(SEARCHED_BYTES_MAX)].to_lowercase();
    let kind = summary.chunk.room_type.as_ref().map(RoomType::as_str);
    (room_types.is_empty() || room_types.iter().any(|wanted| wanted.as_str() == kind))
        && search_term.is_none_or(|term| summary.texts().any(|text| searched(text).contains(term)))
}

/// Where a room stands in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    joined: Reverse<u64>,
    room: RoomNid,
}

/// A pagination token: `n<joined>_<room>` goes on after that room, `p<joined>_<room>` back from before it. A room
/// that comes, goes or grows between two pages moves no other room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageToken {
    After(Rank),
    Before(Rank),
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sigil, Rank { joined, room }) = match self {
            Self::After(rank) => ('n', rank),
            Self::Before(rank) => ('p', rank),
        };
        write!(f, "{sigil}{}_{}", joined.0, room.get())
    }
}

impl FromStr for PageToken {
    type Err = BadToken;

    fn from_str(token: &str) -> Result<Self, BadToken> {
        let (sigil, rest) = token.split_at_checked(1).ok_or(BadToken)?;
        let (joined, room) = rest.split_once('_').ok_or(BadToken)?;
        let rank = Rank { joined: Reverse(number(joined)?), room: RoomNid::new(number(room)?) };
        match sigil {
            "n" => Ok(Self::After(rank)),
            "p" => Ok(Self::Before(rank)),
            _ => Err(BadToken),
        }
    }
}

impl Rooms {
    /// A page of the published rooms. Anybody may ask.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where `since` is not a token of an earlier page.
    pub async fn public_rooms(&self, query: &PublicQuery) -> Result<PublicPage, RoomError> {
        let since = query.since.as_deref().map(str::parse::<PageToken>).transpose();
        let since = since.map_err(|error| RoomError::InvalidParam(format!("since: the {error}.")))?;
        let limit = query.limit.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(PUBLIC_ROOMS_PAGE_DEFAULT).min(PUBLIC_ROOMS_PAGE_MAX);
        let rooms = self.engine.published().await?;
        let backwards = matches!(since, Some(PageToken::Before(_)));
        let start = match since {
            None => 0,
            Some(PageToken::After(last)) => rooms.partition_point(|(rank, _)| *rank <= last),
            Some(PageToken::Before(first)) => rooms.partition_point(|(rank, _)| *rank < first),
        };
        let way: Box<dyn Iterator<Item = &(Rank, Arc<RoomView>)> + Send> =
            if backwards { Box::new(rooms[..start].iter().rev()) } else { Box::new(rooms[start..].iter()) };
        let (mut found, more) = self.engine.page(way, limit, query).await?;
        if backwards {
            found.reverse();
        }
        let ends = (found.first().map(|(rank, _)| *rank), found.last().map(|(rank, _)| *rank));
        let (before, after) = if backwards { (more, start < rooms.len()) } else { (start > 0, more) };
        Ok(PublicPage {
            next_batch: ends.1.filter(|_| after).map(|last| PageToken::After(last).to_string()),
            prev_batch: ends.0.filter(|_| before).map(|first| PageToken::Before(first).to_string()),
            chunk: found.into_iter().map(|(_, summary)| summary.chunk.clone()).collect(),
            total_room_count_estimate: u64::try_from(rooms.len()).unwrap_or(u64::MAX),
        })
    }
}

impl Engine {
    /// The published rooms that somebody is in, in the order of the directory.
    async fn published(&self) -> Result<Vec<(Rank, Arc<RoomView>)>, RoomError> {
        let listed = self.store.latest().scan_keys(&LISTED, Scan::all().limit(PUBLIC_ROOMS_MAX)).await?;
        let mut rooms = Vec::with_capacity(listed.len());
        for nid in listed {
            let view = match self.room(nid).await {
                Err(RoomError::NoSuchRoom) => continue,
                room => room?.view(),
            };
            if view.joined > 0 {
                rooms.push((Rank { joined: Reverse(view.joined), room: nid }, view));
            }
        }
        rooms.sort_unstable_by_key(|(rank, _)| *rank);
        Ok(rooms)
    }

    /// The first rooms on the way that pass the filter, and whether another one would.
    async fn page(
        &self,
        way: Box<dyn Iterator<Item = &(Rank, Arc<RoomView>)> + Send + '_>,
        limit: usize,
        query: &PublicQuery,
    ) -> Result<(Vec<(Rank, Arc<Summary>)>, bool), RoomError> {
        let term = query.search_term.as_deref().map(str::to_lowercase);
        let (mut found, mut bytes) = (Vec::new(), 0_u64);
        for (rank, view) in way {
            let summary = self.summary(view).await?;
            if !passes(&summary, term.as_deref(), &query.room_types) {
                continue;
            }
            bytes += summary.bytes();
            if found.len() == limit || (bytes > PAGE_BYTES_MAX && !found.is_empty()) {
                return Ok((found, true));
            }
            found.push((*rank, summary));
        }
        Ok((found, false))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use ruma::{directory::RoomTypeFilter, events::StateEventType, room::JoinRuleKind, user_id};
    use serde_json::{json, value::to_raw_value};

    use super::{PageToken, PublicQuery, Rank};
    use crate::{
        BadToken, MemberProfile, Preset, RoomError, RoomNid,
        tests::{Person, World, new_room, run},
    };

    async fn publish(world: &World, by: &Person, name: &str, others: &[&Person]) -> ruma::OwnedRoomId {
        let mut request = new_room("11", Preset::PublicChat);
        request.name = Some(name.to_owned());
        request.listed = true;
        let room = world.rooms.create(by.actor(), request).await.unwrap();
        for other in others {
            world.rooms.join(other.actor(), &room, MemberProfile::default(), None).await.unwrap();
        }
        room
    }

    async fn names(world: &World, query: &PublicQuery) -> Vec<String> {
        let page = world.rooms.public_rooms(query).await.unwrap();
        page.chunk.into_iter().map(|chunk| chunk.name.unwrap_or_default()).collect()
    }

    #[test]
    fn pages_lead_forth_and_back() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let carol = world.person(user_id!("@carol:a.example")).await;
            publish(&world, &alice, "one", &[]).await;
            publish(&world, &alice, "three", &[&bob, &carol]).await;
            publish(&world, &alice, "two", &[&bob]).await;
            publish(&world, &alice, "one too", &[]).await;
            let left = publish(&world, &alice, "nobody", &[]).await;
            world.rooms.leave(alice.actor(), &left, None).await.unwrap();
            let mut unlisted = new_room("11", Preset::PublicChat);
            unlisted.name = Some("unlisted".to_owned());
            world.rooms.create(alice.actor(), unlisted).await.unwrap();

            assert_eq!(names(&world, &PublicQuery::default()).await, ["three", "two", "one", "one too"]);
            let mut query = PublicQuery { limit: Some(3), ..PublicQuery::default() };
            let first = world.rooms.public_rooms(&query).await.unwrap();
            assert_eq!((first.chunk.len(), first.total_room_count_estimate), (3, 4));
            assert_eq!(first.prev_batch, None);
            query.since = first.next_batch;
            assert_eq!(names(&world, &query).await, ["one too"]);
            let last = world.rooms.public_rooms(&query).await.unwrap();
            assert_eq!(last.next_batch, None);
            query.limit = Some(2);
            query.since = last.prev_batch;
            assert_eq!(names(&world, &query).await, ["two", "one"]);
            let middle = world.rooms.public_rooms(&query).await.unwrap();
            query.since = middle.next_batch;
            assert_eq!(names(&world, &query).await, ["one too"]);
            query.since = middle.prev_batch;
            assert_eq!(names(&world, &query).await, ["three"]);
            assert_eq!(world.rooms.public_rooms(&query).await.unwrap().prev_batch, None);
        });
    }

    #[test]
    fn shows_the_current_state() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let mut request = new_room("11", Preset::PublicChat);
            request.creation_content.insert("type".to_owned(), json!("m.space"));
            request.topic = Some("Beds".to_owned());
            request.listed = true;
            let room = world.rooms.create(alice.actor(), request).await.unwrap();
            let shown = world.rooms.public_rooms(&PublicQuery::default()).await.unwrap().chunk.remove(0);
            let shown = serde_json::to_value(shown).unwrap();
            assert_eq!(
                shown,
                json!({
                    "room_id": room, "name": "Ward 7", "topic": "Beds", "num_joined_members": 1,
                    "room_type": "m.space", "guest_can_join": false, "world_readable": false,
                })
            );
            for (kind, content) in [
                (StateEventType::RoomName, json!({ "name": 7 })),
                (StateEventType::RoomTopic, json!({ "topic": "" })),
                (StateEventType::RoomAvatar, json!({ "url": "mxc://a.example/bed" })),
                (StateEventType::RoomGuestAccess, json!({ "guest_access": "can_join" })),
                (StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "world_readable" })),
                (StateEventType::RoomJoinRules, json!({ "join_rule": "knock" })),
            ] {
                let content = to_raw_value(&content).unwrap();
                world.rooms.set_state(alice.actor(), &room, &kind, "", content).await.unwrap();
            }
            let shown = world.rooms.public_rooms(&PublicQuery::default()).await.unwrap().chunk.remove(0);
            assert_eq!((shown.name, shown.topic, shown.join_rule), (None, None, JoinRuleKind::Knock));
            assert_eq!(shown.avatar_url.as_deref(), Some("mxc://a.example/bed".into()));
            assert!(shown.guest_can_join && shown.world_readable);
        });
    }

    #[test]
    fn filters_by_text_and_type() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            publish(&world, &alice, "Intensive Care", &[]).await;
            publish(&world, &alice, "KÜCHE", &[]).await;
            let mut request = new_room("11", Preset::PublicChat);
            request.creation_content.insert("type".to_owned(), json!("m.space"));
            request.topic = Some("About intensive care".to_owned());
            request.listed = true;
            world.rooms.create(alice.actor(), request).await.unwrap();
            let search = |term: &str, room_types| PublicQuery {
                search_term: Some(term.to_owned()),
                room_types,
                ..PublicQuery::default()
            };
            assert_eq!(names(&world, &search("iNtEnSiVe", vec![])).await, ["Intensive Care", "Ward 7"]);
            assert_eq!(names(&world, &search("intensive", vec![RoomTypeFilter::Space])).await, ["Ward 7"]);
            assert_eq!(names(&world, &search("intensive", vec![RoomTypeFilter::Default])).await, ["Intensive Care"]);
            assert_eq!(names(&world, &search("küche", vec![])).await, ["KÜCHE"]);
            let none = search("surgery", vec![RoomTypeFilter::Default, RoomTypeFilter::Space]);
            let none = world.rooms.public_rooms(&none).await.unwrap();
            assert!(none.chunk.is_empty() && none.next_batch.is_none() && none.prev_batch.is_none());
        });
    }

    #[test]
    fn tokens_survive_the_client() {
        let rank = Rank { joined: Reverse(12), room: RoomNid::new(3) };
        for token in [PageToken::After(rank), PageToken::Before(rank)] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for junk in ["", "n", "n1", "x1_1", "n-1_1", "p1_1_1", "ü1_1", "n1_99999999999999999999"] {
            assert_eq!(junk.parse::<PageToken>(), Err(BadToken), "{junk}");
        }
        run(async {
            let query = PublicQuery { since: Some("junk".to_owned()), ..PublicQuery::default() };
            assert!(matches!(World::new().rooms.public_rooms(&query).await, Err(RoomError::InvalidParam(_))));
        });
    }
}
