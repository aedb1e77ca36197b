//! wardroom-store
