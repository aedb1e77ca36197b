//! wardroom-admin-api
