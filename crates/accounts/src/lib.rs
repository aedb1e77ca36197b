//! wardroom-accounts
