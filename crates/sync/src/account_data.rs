//! What a user has stored for all of their devices, globally and with rooms.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_accounts::{AccountDatum, DataScope, UserNid};
use wardroom_rooms::{RoomNid, RoomView};

use crate::{
    SyncError,
    hearing::{Hearing, Span},
    response::{Events, write_json},
};

/// Account data that is news.
#[derive(Debug, Default)]
pub(crate) struct AccountDataNews {
    global: Vec<AccountDatum>,
    rooms: HashMap<u64, Vec<AccountDatum>>,
}

impl AccountDataNews {
    pub(crate) fn global(&self) -> &[AccountDatum] {
        &self.global
    }

    /// The rooms of which some is.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = RoomNid> {
        self.rooms.keys().map(|room| RoomNid::new(*room))
    }

    pub(crate) fn has_room(&self, room: RoomNid) -> bool {
        self.rooms.contains_key(&room.get())
    }
}

/// An event of account data, as of the ephemeral events: no more than a type and a content.
#[derive(Serialize)]
pub(crate) struct BareEvent<'a, C> {
    pub(crate) content: &'a C,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
}

fn tell(events: &mut Events, datum: &AccountDatum) {
    let content: &RawJsonValue = &datum.content;
    write_json(events.next(), &BareEvent { content: &content, kind: &datum.event_type });
}

impl Hearing<'_> {
    fn account(&self) -> UserNid {
        self.session.nid
    }

    /// Account data of a span. That of rooms is left out where everything is news: it is read room by room.
    pub(crate) async fn account_data_news(&self, span: Span) -> Result<AccountDataNews, SyncError> {
        let accounts = &self.syncer.accounts;
        let mut news = AccountDataNews::default();
        match span.since {
            None => news.global = accounts.all_account_data(self.account()).await?,
            Some(since) => {
                for datum in accounts.account_data_since(self.account(), since, span.now).await? {
                    match datum.scope {
                        DataScope::Global => news.global.push(datum),
                        DataScope::Room(room) => news.rooms.entry(room).or_default().push(datum),
                    }
                }
            }
        }
        Ok(news)
    }

    pub(crate) fn tell_account_data(&self, events: &mut Events, data: &[AccountDatum]) {
        for datum in data.iter().filter(|datum| self.filter.admits_account_data(&datum.event_type)) {
            tell(events, datum);
        }
    }

    /// Tells the account data of a room: all of it, or what is news.
    pub(crate) async fn tell_room_account_data(
        &self,
        events: &mut Events,
        room: &RoomView,
        everything: bool,
        news: &AccountDataNews,
    ) -> Result<(), SyncError> {
        let all;
        let data = if everything {
            all = self.syncer.accounts.all_room_account_data(self.account(), room.nid.get()).await?;
            all.as_slice()
        } else {
            news.rooms.get(&room.nid.get()).map_or(&[][..], Vec::as_slice)
        };
        for datum in data.iter().filter(|datum| self.filter.admits_room_account_data(&room.id, &datum.event_type)) {
            tell(events, datum);
        }
        Ok(())
    }
}
