//! `GET /sync`.

mod filters;
mod gaps;
mod incremental;
mod initial;
mod lazy_members;
mod long_poll;
mod other_sections;
mod unread;
