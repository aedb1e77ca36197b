//! The catalogue of what is recorded.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! acts {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)*) => {
        /// What was done. The words are what records hold; they are kept for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Act {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $name,)*
        }

        impl Act {
            /// Everything that is recorded.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word of records.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The act of a word.
            pub fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

acts! {
    /// The server started.
    ServerStart = "server.start",
    /// The server stopped.
    ServerStop = "server.stop",
    /// The audit trail began, or went on after a start.
    AuditStart = "audit.start",
    /// The audit trail stopped.
    AuditStop = "audit.stop",
    /// Somebody signed in.
    Login = "login",
    /// Signing in was refused.
    LoginFailed = "login.failed",
    /// A session ended.
    Logout = "logout",
    /// An account was made.
    AccountCreate = "account.create",
    /// An account was changed: password, deactivation, suspension, lock, rights.
    AccountChange = "account.change",
    /// An account was erased.
    AccountErase = "account.erase",
    /// Somebody received the data that the server keeps of an account.
    AccountExport = "account.export",
    /// A device received events or state of a room.
    RoomRead = "room.read",
    /// Somebody searched in rooms.
    Search = "search",
    /// Somebody searched the directory of rooms or of users.
    Directory = "directory",
    /// Somebody listed the rooms of a space.
    Hierarchy = "hierarchy",
    /// Somebody received a file or a thumbnail of it.
    MediaRead = "media.read",
    /// A file was uploaded.
    MediaCreate = "media.create",
    /// A file was deleted.
    MediaDelete = "media.delete",
    /// An event was sent.
    EventSend = "event.send",
    /// An event was replaced by another.
    EventEdit = "event.edit",
    /// An event was redacted.
    EventRedact = "event.redact",
    /// A user joined a room.
    MemberJoin = "member.join",
    /// A user left a room, or declined an invitation.
    MemberLeave = "member.leave",
    /// A user was invited.
    MemberInvite = "member.invite",
    /// A user was removed from a room.
    MemberKick = "member.kick",
    /// A user was banned from a room.
    MemberBan = "member.ban",
    /// The ban of a user was ended.
    MemberUnban = "member.unban",
    /// A user asked to be let in.
    MemberKnock = "member.knock",
    /// Roles or the room's rules were asked whether somebody may do something.
    RoleCheck = "role.check",
    /// The state of a room changed: its policy, retention, powers, join rule, visibility, name.
    RoomChange = "room.change",
    /// A room was deleted.
    RoomDelete = "room.delete",
    /// The configuration of the server, or the list of its partners, changed.
    ServerConfig = "server.config",
    /// The meaning of roles changed: a mapping, a template.
    RoleMap = "role.map",
    /// The roles of a user changed.
    RoleChange = "role.change",
    /// An administrator used the administration API.
    AdminCall = "admin.call",
    /// An administrator got a token of a user.
    AdminImpersonate = "admin.impersonate",
    /// Emergency access began.
    EmergencyBegin = "emergency.begin",
    /// Emergency access ended.
    EmergencyEnd = "emergency.end",
    /// Emergency access was reviewed.
    EmergencyReview = "emergency.review",
    /// Records were read.
    AuditRead = "audit.read",
    /// Records were exported.
    AuditExport = "audit.export",
    /// Events were sent to another server.
    FederationSend = "federation.send",
    /// Events were received from another server.
    FederationReceive = "federation.receive",
    /// This server, as the policy server of a room, signed an event or refused to.
    PolicySign = "policy.sign",
    /// Events were deleted because their time was over.
    RetentionPurge = "retention.purge",
    /// Keys were destroyed because the time of what they seal was over.
    RetentionShred = "retention.shred",
    /// The contents of events were deleted, what holds the room together was kept.
    RetentionRedact = "retention.redact",
    /// Deletion was forbidden by a legal hold.
    HoldSet = "hold.set",
    /// A legal hold was released.
    HoldRelease = "hold.release",
    /// Somebody looked at the events that a legal hold covers.
    HoldRead = "hold.read",
    /// A backup of message keys was read.
    KeysRestore = "keys.restore",
    /// A device was verified: its keys were signed.
    DeviceVerify = "device.verify",
    /// A device was deleted.
    DeviceDelete = "device.delete",
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
