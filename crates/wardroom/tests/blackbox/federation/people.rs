//! What servers tell each other of their people: media, profiles, and who is who.

mod media;
mod profiles;
