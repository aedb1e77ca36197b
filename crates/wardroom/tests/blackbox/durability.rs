//! Acknowledged means durable: SIGKILL in the middle of writes, again and again.

mod crash;
mod writers;
