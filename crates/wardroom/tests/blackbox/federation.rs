//! Several servers: Wardrooms among themselves, behind bad networks, and beside servers that do what they like.

mod faults;
mod joining;
mod missing_events;
mod sites;
mod three_wardrooms;
mod two_wardrooms;
