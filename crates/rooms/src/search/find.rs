//! Finding events by the words of their text.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::Arc,
};

use ruma::{api::client::filter::RoomEventFilter, events::StateEventType};
use wardroom_store::{Packed, Position, Scan};

use super::{Occurrence, SEARCH_WORDS, SearchKey, text_of, word_hash, words::words};
use crate::{
    Rooms, Viewer,
    error::RoomError,
    filter,
    ids::{BadToken, Place},
    room::RoomView,
    timeline::{Reader, TimelineItem},
};

/// Results that one page may hold.
pub const SEARCH_PAGE_MAX: usize = 100;
/// Different words that one search looks for; those beyond do not count.
const TERMS_MAX: usize = 10;
/// Rooms that one search looks into.
const ROOMS_MAX: usize = 2_000;
/// Entries that one search reads, in the rooms with the newest events first: about a tenth of a second's work. Where it
/// takes more, the rest is not found.
const READS_MAX: usize = 50_000;
/// Entries of each word that are read to find out which is the rarest.
const PROBE_ROWS: usize = 50;
/// Entries of the rarest word that are read at a time.
const SCAN_STEP_ROWS: usize = 500;
/// Events, the newest, among which the results of one search are put in order.
const MATCHES_MAX: usize = 10_000;

/// In which order results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchOrder {
    /// The most relevant first.
    Rank,
    /// The newest first.
    Recent,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct SearchQuery<'a> {
    /// Words that must all stand in the text of an event.
    pub term: &'a str,
    /// Which texts are searched; all of them where none is named.
    pub keys: &'a [SearchKey],
    /// Which events and rooms.
    pub filter: &'a RoomEventFilter,
    /// In which order.
    pub order: SearchOrder,
    /// Results at most.
    pub limit: usize,
    /// Where to go on.
    pub from: Option<SearchToken>,
}

/// Where the next page of a search goes on: written `q<position>_<results passed>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchToken {
    /// What came later is left out, so that it does not push the results about.
    up_to: Position,
    passed: usize,
}

impl fmt::Display for SearchToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}_{}", self.up_to.get(), self.passed)
    }
}

impl FromStr for SearchToken {
    type Err = BadToken;

    fn from_str(token: &str) -> Result<Self, BadToken> {
        let (up_to, passed) = token.strip_prefix('q').and_then(|rest| rest.split_once('_')).ok_or(BadToken)?;
        let up_to = Position::new(up_to.parse().map_err(|_| BadToken)?);
        Ok(Self { up_to, passed: passed.parse().map_err(|_| BadToken)? })
    }
}

/// An event that was found.
#[derive(Clone, Debug)]
pub struct SearchHit {
    /// Its room.
    pub room: Arc<RoomView>,
    /// The event, and where it stands.
    pub item: TimelineItem,
    /// How relevant it is: the higher, the more.
    pub rank: f64,
}

/// A page of results.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The results, in the order asked for.
    pub hits: Vec<SearchHit>,
    /// How many results there are, about: those that the filter leaves out count too.
    pub count: usize,
    /// The words that were looked for.
    pub words: Vec<String>,
    /// Where the next page starts; none where there is no more to see.
    pub next: Option<SearchToken>,
}

/// A room that is searched, and how far the viewer reads it.
struct Searched {
    view: Arc<RoomView>,
    reader: Reader,
}

/// An event that has all the words: index of its room, place, rank.
struct Match {
    room: usize,
    place: Place,
    rank: f64,
}

impl Rooms {
    /// Searches the rooms that the viewer is or was in; of each, what the viewer sees.
    pub async fn search(&self, viewer: Viewer<'_>, query: SearchQuery<'_>) -> Result<SearchPage, RoomError> {
        let terms: BTreeSet<String> = words(query.term).take(TERMS_MAX).collect();
        let start = query.from.unwrap_or(SearchToken { up_to: self.engine.store.position(), passed: 0 });
        let mut page = SearchPage { hits: Vec::new(), count: 0, words: terms.iter().cloned().collect(), next: None };
        if terms.is_empty() {
            return Ok(page);
        }
        let searched = self.searched_rooms(viewer, query.filter).await?;
        let (mut matches, mut reads_left) = (Vec::new(), READS_MAX);
        for (room, searched) in searched.iter().enumerate() {
            if reads_left == 0 {
                break;
            }
            let found = self.matches(searched, &terms, Place::after(start.up_to), &mut reads_left).await?;
            matches.extend(found.into_iter().map(|(place, rank)| Match { room, place, rank }));
            if matches.len() > 2 * MATCHES_MAX {
                keep_newest(&mut matches);
            }
            tokio::task::consume_budget().await;
        }
        keep_newest(&mut matches);
        page.count = matches.len();
        if query.order == SearchOrder::Rank {
            // Stable: of equally relevant ones the newest stays first.
            matches.sort_by(|left, right| right.rank.total_cmp(&left.rank));
        }
        let limit = query.limit.clamp(1, SEARCH_PAGE_MAX);
        for (index, found) in matches.iter().enumerate().skip(start.passed) {
            if page.hits.len() == limit {
                page.next = Some(SearchToken { passed: index, ..start });
                break;
            }
            let Searched { view, .. } = &searched[found.room];
            let Some(item) = self.engine.items_at(view.nid, &[found.place]).await?.pop() else { continue };
            if admits(viewer, &query, &terms, &item) {
                page.hits.push(SearchHit { room: Arc::clone(view), item, rank: found.rank });
            }
        }
        Ok(page)
    }

    /// The rooms that the viewer is or was in and may read, without those that are encrypted; the busiest first.
    async fn searched_rooms(&self, viewer: Viewer<'_>, filter: &RoomEventFilter) -> Result<Vec<Searched>, RoomError> {
        let mut entries = self.memberships(viewer.actor.nid).await?;
        entries.retain(|entry| entry.was_joined && !entry.forgotten);
        entries.sort_by_key(|entry| Reverse(entry.place));
        let mut searched = Vec::new();
        for entry in entries.into_iter().take(ROOMS_MAX) {
            let view = self.view_of(entry.room).await?;
            let named = filter.rooms.as_ref().is_none_or(|rooms| rooms.contains(&view.id));
            if !named || filter.not_rooms.contains(&view.id) {
                continue;
            }
            let encryption = self.engine.state_event(view.nid, view.state, &StateEventType::RoomEncryption, "").await?;
            if encryption.is_some() {
                continue;
            }
            match self.reader(viewer.actor, &view).await {
                Err(RoomError::Forbidden(_)) => {}
                reader => searched.push(Searched { reader: reader?, view }),
            }
        }
        searched.sort_by_key(|room| Reverse(room.view.end));
        Ok(searched)
    }

    /// Events of a room that have all the words and that the reader sees, newest first, with their rank.
    async fn matches(
        &self,
        searched: &Searched,
        terms: &BTreeSet<String>,
        before: Place,
        reads_left: &mut usize,
    ) -> Result<Vec<(Place, f64)>, RoomError> {
        let before = before.min(searched.reader.end);
        let mut words = Vec::with_capacity(terms.len());
        for term in terms {
            let word = word_hash(&self.engine.store, searched.view.nid, term);
            let probe = self.occurrences_before(searched, word, before, PROBE_ROWS).await?;
            *reads_left = reads_left.saturating_sub(probe.len() + 1);
            if probe.is_empty() {
                return Ok(Vec::new());
            }
            words.push((probe.len(), word));
        }
        // The rarest word leads; the others are looked up where it stands.
        words.sort_unstable();
        let mut words = words.into_iter().map(|(_, word)| word);
        let Some(rarest) = words.next() else { return Ok(Vec::new()) };
        let others: Vec<u64> = words.collect();
        let (mut found, mut before) = (Vec::new(), before);
        while *reads_left > 0 {
            let page = self.occurrences_before(searched, rarest, before, SCAN_STEP_ROWS).await?;
            *reads_left = reads_left.saturating_sub(page.len() * (1 + others.len()));
            let complete = page.len() < SCAN_STEP_ROWS;
            let Some((last, _)) = page.last() else { break };
            before = *last;
            found.extend(self.with_others(searched, page, &others).await?);
            if complete {
                break;
            }
        }
        Ok(found)
    }

    async fn occurrences_before(
        &self,
        searched: &Searched,
        word: u64,
        before: Place,
        limit: usize,
    ) -> Result<Vec<(Place, Occurrence)>, RoomError> {
        let key = |place: Place| (searched.view.nid, word, place.position(), place.index());
        let scan = Scan::range(&key(Place::FIRST), &key(before)).reverse().limit(limit);
        let rows = self.engine.store.latest().scan(&SEARCH_WORDS, scan).await?;
        let place = |((_, _, position, index), Packed(occurrence))| (Place::new(position, index), occurrence);
        Ok(rows.into_iter().map(place).collect())
    }

    /// Those of these events that have the other words too and that the reader sees.
    async fn with_others(
        &self,
        searched: &Searched,
        page: Vec<(Place, Occurrence)>,
        others: &[u64],
    ) -> Result<Vec<(Place, f64)>, RoomError> {
        let (engine, Searched { view, reader }) = (&self.engine, searched);
        let mut ranks: HashMap<Place, f64> = page.iter().map(|(place, word)| (*place, relevance(*word))).collect();
        for word in others {
            let places: Vec<Place> = page.iter().map(|(place, _)| *place).filter(|at| ranks.contains_key(at)).collect();
            let keys: Vec<_> = places.iter().map(|at| (view.nid, *word, at.position(), at.index())).collect();
            let found = engine.store.latest().multi_get(&SEARCH_WORDS, &keys).await?;
            for (place, found) in places.into_iter().zip(found) {
                match (found, ranks.get_mut(&place)) {
                    (Some(Packed(word)), Some(rank)) => *rank += relevance(word),
                    _ => drop(ranks.remove(&place)),
                }
            }
        }
        let mut seen = Vec::with_capacity(ranks.len());
        let all_live = engine.all_live(view).await?;
        for (place, _) in page {
            if let Some(rank) = ranks.get(&place)
                && engine.sees_child(reader, view, place, all_live).await?
            {
                seen.push((place, *rank));
            }
        }
        Ok(seen)
    }
}

/// How relevant an event is for a word: the more often it stands there, and the shorter the text.
fn relevance(word: Occurrence) -> f64 {
    let (count, length) = (f64::from(word.count), f64::from(word.length.max(1)));
    (1.0 + count.ln()) / (1.0 + length.ln())
}

fn keep_newest(matches: &mut Vec<Match>) {
    matches.sort_by_key(|found| Reverse(found.place));
    matches.truncate(MATCHES_MAX);
}

/// Whether an event is what is asked for. Its words are compared once more: hashes only lead to it.
fn admits(viewer: Viewer<'_>, query: &SearchQuery<'_>, terms: &BTreeSet<String>, item: &TimelineItem) -> bool {
    let pdu = &item.event.pdu;
    let Some((key, text)) = text_of(pdu) else { return false };
    let held: BTreeSet<String> = words(&text).collect();
    (query.keys.is_empty() || query.keys.contains(&key))
        && terms.is_subset(&held)
        && filter::passes(query.filter, pdu)
        && !viewer.ignores_event(pdu)
}

#[cfg(test)]
mod tests {
    use super::{Position, SearchToken};
    use crate::BadToken;

    #[test]
    fn tokens_survive_the_client() {
        let token = SearchToken { up_to: Position::new(7), passed: 30 };
        assert_eq!(token.to_string().parse(), Ok(token));
        for junk in ["", "q", "q1", "q1_", "q_1", "s1", "q1_-1", "q99999999999999999999_1", "t1_1"] {
            assert_eq!(junk.parse::<SearchToken>(), Err(BadToken), "{junk}");
        }
    }
}
