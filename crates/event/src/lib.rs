//! wardroom-event
