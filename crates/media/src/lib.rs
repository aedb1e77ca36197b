//! The content repository.
