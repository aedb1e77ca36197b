//! wardroom-client-api
