//! `[support]`

use ruma::{
    OwnedUserId,
    api::client::discovery::discover_support::{Contact, ContactRole},
};
use serde::{Deserialize, Serialize};

/// Whom people turn to, as `/.well-known/matrix/support` tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Support {
    /// URL of a page with help; empty for none.
    pub(crate) page: String,
    /// Whom to write to.
    pub(crate) contacts: Vec<SupportContact>,
}

/// Somebody to write to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SupportContact {
    /// What for: `m.role.admin`, `m.role.security`, or a role in the form of a Java package name.
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) matrix_id: Option<OwnedUserId>,
    #[serde(default)]
    pub(crate) email_address: Option<String>,
}

impl Support {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.page.is_empty() && !["https://", "http://"].iter().any(|scheme| self.page.starts_with(scheme)) {
            problems.push("support.page: must begin with https:// or http://".to_owned());
        }
        for (index, contact) in self.contacts.iter().enumerate() {
            let number = index + 1;
            if contact.role.is_empty() {
                problems.push(format!("support.contacts: contact {number} has no role"));
            }
            if contact.matrix_id.is_none() && contact.email_address.is_none() {
                problems.push(format!("support.contacts: contact {number} needs matrix_id or email_address"));
            }
        }
        problems
    }

    /// The contacts, for the answer.
    pub(crate) fn contacts(&self) -> Vec<Contact> {
        let contact = |given: &SupportContact| {
            let role = ContactRole::from(given.role.as_str());
            let mut contact = match (&given.matrix_id, &given.email_address) {
                (Some(id), _) => Contact::with_matrix_id(role, id.clone()),
                (None, address) => Contact::with_email_address(role, address.clone().unwrap_or_default()),
            };
            contact.email_address.clone_from(&given.email_address);
            contact
        };
        self.contacts.iter().map(contact).collect()
    }
}
