//! wardroom-rooms
