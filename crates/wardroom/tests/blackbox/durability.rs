//! Acknowledged means durable: SIGKILL in the middle of writes, again and again; backups and the way back.

mod backup;
mod crash;
mod damage;
mod writers;
