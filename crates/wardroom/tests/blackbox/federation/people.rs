//! What servers tell each other of their people: media, profiles, who is who, and what a room's policy server thinks.

mod media;
mod policy_servers;
mod profiles;
mod third_party;
mod user_directory;
