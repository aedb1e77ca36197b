//! What servers tell each other besides events: typing, receipts, presence, devices and messages to devices.

mod ephemeral;
mod incoming;
mod keys;
