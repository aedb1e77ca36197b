//! Several servers: Wardrooms among themselves, behind bad networks, and beside servers that do what they like.

mod crash;
mod destinations;
mod faults;
mod hostile;
mod hostile_answers;
mod people;
mod sites;
mod three_wardrooms;
mod two_wardrooms;
