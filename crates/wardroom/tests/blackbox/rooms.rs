//! Rooms: creation, membership, state, messages, history and who may see it, aliases, receipts, typing.

mod aliases;
mod creation;
mod directory;
mod event_context;
mod history_visibility;
mod knocking;
mod membership;
mod messages;
mod pagination;
mod power_levels;
mod receipts;
mod redaction;
mod room_versions;
mod state;
mod transactions;
mod typing;
