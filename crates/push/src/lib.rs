//! Push notifications.
