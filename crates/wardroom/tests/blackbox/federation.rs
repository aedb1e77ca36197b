//! Several servers: Wardrooms among themselves, behind bad networks, and beside servers that do what they like.

mod administration;
mod crash;
mod destinations;
mod edus;
mod faults;
mod hostile;
mod hostile_answers;
mod inbound_events;
mod inbound_rooms;
mod joining;
mod looking_in;
mod missing_events;
mod people;
pub(crate) mod sites;
mod three_wardrooms;
mod trust;
mod two_wardrooms;
