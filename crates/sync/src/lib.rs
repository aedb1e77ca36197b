//! wardroom-sync
