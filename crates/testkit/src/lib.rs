//! wardroom-testkit
