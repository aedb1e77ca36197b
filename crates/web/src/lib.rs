//! wardroom-web
