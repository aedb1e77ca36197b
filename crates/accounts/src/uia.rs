//! User-interactive authentication: section "User-Interactive Authentication API". Sessions live in memory: a restart
//! makes a client start the dialogue again, nothing more.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ruma::{
    UserId,
    api::{
        client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier},
        error::{ErrorKind, StandardErrorBody},
    },
};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use wardroom_store::Packed;

use crate::{
    AccountError, Accounts, UserNid,
    registration::{RegistrationWish, Remembered},
    secret::random_bytes,
    tables::USERS,
    user_name::typed_user_id,
};

/// Sessions at the same time; the oldest goes when there are more.
pub const UIA_SESSIONS_MAX: usize = 10_000;
/// A dialogue has to be finished in this time.
pub const UIA_SESSION_LIFETIME_MS: u64 = 15 * 60 * 1_000;

/// What an authentication is good for: one operation of one user with the same parameters. Whoever completes a dialogue
/// for one cannot spend it on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UiaBinding {
    exact: [u8; 32],
    /// What a session may have been begun with instead.
    begun_with: Option<[u8; 32]>,
    request: UiaRequest,
}

/// What a dialogue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UiaRequest {
    /// The operation, as given to [`UiaBinding::new`].
    pub operation: &'static str,
    /// For whom.
    pub user: Option<UserNid>,
}

impl UiaBinding {
    /// Binds to an operation (its method and path), the user it is for, and its parameters without `auth`.
    pub fn new(operation: &'static str, user: Option<UserNid>, parameters: &impl Serialize) -> Self {
        let mut hash = Sha256::new();
        hash.update((operation.len() as u64).to_be_bytes());
        hash.update(operation);
        hash.update(user.map_or(0, UserNid::get).to_be_bytes());
        // Parameters that do not serialize bind to nothing else: equal only to themselves.
        hash.update(serde_json::to_vec(parameters).unwrap_or_default());
        Self { exact: hash.finalize().into(), begun_with: None, request: UiaRequest { operation, user } }
    }

    /// Accepts sessions too that were begun with less: a client may ask for the flows before somebody has typed what the
    /// request is about.
    #[must_use]
    pub fn or_begun_with(self, earlier: Self) -> Self {
        Self { begun_with: Some(earlier.exact), ..self }
    }

    fn accepts(&self, session: &UiaSession) -> bool {
        session.binding == self.exact || Some(session.binding) == self.begun_with
    }
}

/// How far an authentication is.
#[derive(Debug)]
pub enum UiaOutcome {
    /// Every stage of a flow is done: the operation may go ahead, once.
    Complete,
    /// The client has something to do first: the body of the 401 answer.
    Challenge(Box<UiaaInfo>),
}

/// Dialogues that are not finished.
#[derive(Default)]
pub(crate) struct UiaSessions(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, UiaSession>,
    /// Id of each session by its number: the first is the oldest.
    by_age: BTreeMap<u64, String>,
    next_number: u64,
}

struct UiaSession {
    number: u64,
    binding: [u8; 32],
    request: UiaRequest,
    completed: Vec<AuthType>,
    expires_ms: u64,
    /// What a registration was asked with, and whom it made.
    registration: Option<Box<Remembered>>,
}

impl Sessions {
    fn open(&mut self, binding: UiaBinding, completed: Vec<AuthType>, now_ms: u64) -> String {
        let id = URL_SAFE_NO_PAD.encode(random_bytes::<18>());
        self.insert(id.clone(), binding, completed, None, now_ms);
        id
    }

    fn insert(
        &mut self,
        id: String,
        binding: UiaBinding,
        completed: Vec<AuthType>,
        registration: Option<Box<Remembered>>,
        now_ms: u64,
    ) {
        while let Some((number, id)) = self.by_age.first_key_value().map(|(number, id)| (*number, id.clone())) {
            let expired = self.by_id.get(&id).is_none_or(|session| session.expires_ms <= now_ms);
            if !expired && self.by_id.len() < UIA_SESSIONS_MAX {
                break;
            }
            self.by_age.remove(&number);
            self.by_id.remove(&id);
        }
        let number = self.next_number;
        self.next_number += 1;
        let expires_ms = now_ms.saturating_add(UIA_SESSION_LIFETIME_MS);
        self.by_age.insert(number, id.clone());
        let UiaBinding { exact: binding, request, .. } = binding;
        let session = UiaSession { number, binding, request, completed, expires_ms, registration };
        if let Some(replaced) = self.by_id.insert(id, session) {
            self.by_age.remove(&replaced.number);
        }
    }

    /// A dialogue that goes on: one that has made a user is good for nothing else.
    fn find(&mut self, id: &str, binding: UiaBinding, now_ms: u64) -> Option<&mut UiaSession> {
        self.alive(id, now_ms).filter(|session| binding.accepts(session) && !session.is_spent())
    }

    /// A dialogue that goes on, whatever it is about.
    fn alive(&mut self, id: &str, now_ms: u64) -> Option<&mut UiaSession> {
        self.by_id.get_mut(id).filter(|session| session.expires_ms > now_ms)
    }

    /// Whether the dialogue was there.
    fn close(&mut self, id: &str) -> bool {
        let closed = self.by_id.remove(id);
        closed.inspect(|session| drop(self.by_age.remove(&session.number))).is_some()
    }
}

impl UiaSession {
    fn is_spent(&self) -> bool {
        self.registration.as_ref().is_some_and(|remembered| remembered.registered.is_some())
    }
}

/// Why a stage was not passed, for the client.
struct Refusal(ErrorKind, &'static str);

impl Accounts {
    /// The flows for an operation on an account that needs its password again.
    pub fn password_flows(&self) -> Vec<AuthFlow> {
        vec![AuthFlow::new(vec![AuthType::Password])]
    }

    /// The flows for an operation on an account that needs its user again: the password, where they have one, and single
    /// sign-on, where one of the issuers knows them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reauthentication_flows(&self, user: UserNid, issuers: &[&str]) -> Result<Vec<AuthFlow>, AccountError> {
        if issuers.is_empty() || !self.sso_links(user).await?.iter().any(|link| issuers.contains(&link.issuer.as_str()))
        {
            return Ok(self.password_flows());
        }
        let row = self.0.store.latest().get(&USERS, &user.get()).await?;
        let mut flows = Vec::new();
        if row.is_some_and(|Packed(row)| row.password.is_some()) {
            flows.extend(self.password_flows());
        }
        flows.push(AuthFlow::new(vec![AuthType::Sso]));
        Ok(flows)
    }

    /// What a dialogue is about that goes on.
    pub fn uia_request(&self, session: &str) -> Option<UiaRequest> {
        self.0.uia.0.lock().alive(session, self.now_ms()).map(|session| session.request)
    }

    /// Notes in a dialogue that an identity provider has confirmed who the user is. `false` when it is another user's,
    /// or over.
    pub fn pass_sso_stage(&self, session: &str, user: UserNid) -> bool {
        let mut sessions = self.0.uia.0.lock();
        let Some(session) = sessions.alive(session, self.now_ms()) else { return false };
        // Single sign-on is a flow of its own: it goes with no other stage.
        let fits = session.request.user == Some(user)
            && (session.completed.is_empty() || session.completed == [AuthType::Sso]);
        if fits {
            session.completed = vec![AuthType::Sso];
        }
        fits
    }

    /// Takes a dialogue one step further. `user` is whom the password stage is about; `auth` what the client sent.
    ///
    /// # Errors
    /// [`AccountError::AuthenticatedOtherwise`], [`AccountError::Busy`], or the store's. A stage that is not passed is not an error but a challenge that says so.
    pub async fn interactive_auth(
        &self,
        binding: UiaBinding,
        flows: Vec<AuthFlow>,
        user: Option<&UserId>,
        auth: Option<&AuthData>,
    ) -> Result<UiaOutcome, AccountError> {
        let Some(auth) = auth else {
            return Ok(self.challenge(binding, flows, None, Vec::new(), None));
        };
        let id = auth.session();
        let completed = match id {
            None => Vec::new(),
            Some(id) => {
                let mut sessions = self.0.uia.0.lock();
                let completed = sessions.find(id, binding, self.now_ms()).map(|session| session.completed.clone());
                let is_alive = sessions.by_id.get(id).is_some_and(|session| session.expires_ms > self.now_ms());
                drop(sessions);
                if completed.is_none() && is_alive {
                    let sentence = "auth.session: this authentication was begun for something else.";
                    return Err(AccountError::AuthenticatedOtherwise(sentence));
                }
                let Some(completed) = completed else {
                    let sentence = "The authentication session is unknown or has expired.";
                    let refusal = Refusal(ErrorKind::Forbidden, sentence);
                    return Ok(self.challenge(binding, flows, None, Vec::new(), Some(refusal)));
                };
                completed
            }
        };
        let stage = auth.auth_type().filter(|stage| !completed.contains(stage));
        let Some(stage) = stage else {
            // A stage that is done cannot be tried again. The last one may have been done in a browser meanwhile.
            if let Some(id) = id
                && flows.iter().any(|flow| flow.stages == completed)
                && self.0.uia.0.lock().close(id)
            {
                return Ok(UiaOutcome::Complete);
            }
            return Ok(self.challenge(binding, flows, id, completed, None));
        };
        if let Err(refusal) = self.pass(&flows, &completed, &stage, user, auth).await? {
            return Ok(self.challenge(binding, flows, id, completed, Some(refusal)));
        }
        Ok(self.note_completed(binding, flows, id, completed, stage))
    }

    /// What the dialogue of a registration remembers.
    pub fn remembered_registration(&self, session: &str) -> Option<Remembered> {
        let mut sessions = self.0.uia.0.lock();
        sessions.alive(session, self.now_ms())?.registration.as_deref().cloned()
    }

    /// Remembers what a registration was asked with, for a later request of the same dialogue that leaves it out. What
    /// is too long is not remembered.
    pub fn remember_registration(&self, session: &str, wish: RegistrationWish) {
        let mut sessions = self.0.uia.0.lock();
        if let Some(session) = sessions.alive(session, self.now_ms()).filter(|session| !session.is_spent()) {
            session.registration = wish.is_short().then(|| Box::new(Remembered { wish, registered: None }));
        }
    }

    /// Remembers whom a dialogue that is complete has made, for a client that did not get the answer and asks again.
    pub fn note_registered(&self, session: &str, binding: UiaBinding, wish: RegistrationWish, user: &UserId) {
        if wish.is_short() {
            let remembered = Box::new(Remembered { wish, registered: Some(user.to_owned()) });
            let now_ms = self.now_ms();
            self.0.uia.0.lock().insert(session.to_owned(), binding, Vec::new(), Some(remembered), now_ms);
        }
    }

    /// Whether the client passes the stage.
    async fn pass(
        &self,
        flows: &[AuthFlow],
        completed: &[AuthType],
        stage: &AuthType,
        user: Option<&UserId>,
        auth: &AuthData,
    ) -> Result<Result<(), Refusal>, AccountError> {
        let is_next = |flow: &AuthFlow| {
            flow.stages.strip_prefix(completed).is_some_and(|remaining| remaining.first() == Some(stage))
        };
        if !flows.iter().any(is_next) {
            return Ok(Err(Refusal(ErrorKind::Forbidden, "This stage is not the next one of any flow.")));
        }
        let verdict = match auth {
            AuthData::Dummy(_) => Ok(()),
            AuthData::RegistrationToken(auth) if self.admits_registration(&auth.token).await? => Ok(()),
            AuthData::RegistrationToken(_) => Err(Refusal(ErrorKind::Unauthorized, "Invalid registration token.")),
            AuthData::Password(auth) => {
                let named = match &auth.identifier {
                    UserIdentifier::Matrix(named) => typed_user_id(&named.user, &self.0.settings.server_name),
                    _ => None,
                };
                if named.as_deref() != user {
                    let sentence = "auth.identifier: this is not the user whose account it is.";
                    return Err(AccountError::AuthenticatedOtherwise(sentence));
                }
                match user {
                    Some(user) if self.verify_password(user, &auth.password).await? => Ok(()),
                    _ => Err(Refusal(ErrorKind::Forbidden, "Invalid password.")),
                }
            }
            _ if *stage == AuthType::Sso => {
                Err(Refusal(ErrorKind::Forbidden, "The identity provider has not confirmed who you are yet."))
            }
            _ => Err(Refusal(ErrorKind::Forbidden, "This server does not know this stage.")),
        };
        Ok(verdict)
    }

    /// Records the stage, and ends the dialogue when it was the last one of a flow.
    fn note_completed(
        &self,
        binding: UiaBinding,
        flows: Vec<AuthFlow>,
        id: Option<&str>,
        mut completed: Vec<AuthType>,
        stage: AuthType,
    ) -> UiaOutcome {
        completed.push(stage);
        let is_complete = flows.iter().any(|flow| flow.stages == completed);
        if let Some(id) = id {
            let mut sessions = self.0.uia.0.lock();
            let now_ms = self.now_ms();
            let Some(session) = sessions.find(id, binding, now_ms) else {
                drop(sessions);
                // Another request finished the dialogue while this one checked the same stage.
                return self.challenge(binding, flows, None, Vec::new(), None);
            };
            if is_complete {
                sessions.close(id);
                return UiaOutcome::Complete;
            }
            session.completed.clone_from(&completed);
        }
        if is_complete { UiaOutcome::Complete } else { self.challenge(binding, flows, id, completed, None) }
    }

    /// The body of a 401 answer, with a new session unless there is one already.
    fn challenge(
        &self,
        binding: UiaBinding,
        flows: Vec<AuthFlow>,
        id: Option<&str>,
        completed: Vec<AuthType>,
        refusal: Option<Refusal>,
    ) -> UiaOutcome {
        let id = match id {
            Some(id) => id.to_owned(),
            None => self.0.uia.0.lock().open(binding, completed.clone(), self.now_ms()),
        };
        let mut info = UiaaInfo::new(flows);
        info.session = Some(id);
        info.completed = completed;
        // Clients expect an object even when no stage has parameters.
        info.params = RawValue::from_string("{}".to_owned()).ok();
        info.auth_error =
            refusal.map(|Refusal(kind, message)| Box::new(StandardErrorBody::new(kind, message.to_owned())));
        UiaOutcome::Challenge(Box::new(info))
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{Sessions, UIA_SESSION_LIFETIME_MS, UIA_SESSIONS_MAX, UiaBinding};
    use crate::{
        UserNid,
        registration::{RegistrationWish, Remembered},
    };

    #[test]
    fn a_binding_differs_by_operation_user_and_parameters() {
        let binding = UiaBinding::new("POST /delete_devices", Some(UserNid::new(1)), &["A"]);
        assert_eq!(binding, UiaBinding::new("POST /delete_devices", Some(UserNid::new(1)), &["A"]));
        assert_ne!(binding, UiaBinding::new("POST /delete_devices", Some(UserNid::new(1)), &["B"]));
        assert_ne!(binding, UiaBinding::new("POST /delete_devices", Some(UserNid::new(2)), &["A"]));
        assert_ne!(binding, UiaBinding::new("POST /account/password", Some(UserNid::new(1)), &["A"]));
    }

    #[test]
    fn a_session_begun_with_less_is_accepted_where_said_so() {
        let less = UiaBinding::new("POST /register", None, &None::<&str>);
        let alice = UiaBinding::new("POST /register", None, &Some("alice")).or_begun_with(less);
        let bob = UiaBinding::new("POST /register", None, &Some("bob")).or_begun_with(less);
        let mut sessions = Sessions::default();
        let (begun, named) = (sessions.open(less, Vec::new(), 0), sessions.open(alice, Vec::new(), 0));
        assert!(sessions.find(&begun, alice, 1).is_some() && sessions.find(&begun, bob, 1).is_some());
        assert!(sessions.find(&named, alice, 1).is_some());
        assert!(sessions.find(&named, bob, 1).is_none() && sessions.find(&named, less, 1).is_none());
    }

    #[test]
    fn sessions_are_bounded_in_number_and_time() {
        let binding = UiaBinding::new("x", None, &());
        let mut sessions = Sessions::default();
        let first = sessions.open(binding, Vec::new(), 0);
        let second = sessions.open(binding, Vec::new(), 1);
        for _ in 2..=UIA_SESSIONS_MAX {
            sessions.open(binding, Vec::new(), 2);
        }
        assert_eq!((sessions.by_id.len(), sessions.by_age.len()), (UIA_SESSIONS_MAX, UIA_SESSIONS_MAX));
        assert!(sessions.find(&first, binding, 3).is_none());
        assert!(sessions.find(&second, binding, 3).is_some());
        assert!(sessions.find(&second, binding, 1 + UIA_SESSION_LIFETIME_MS).is_none());
        sessions.open(binding, Vec::new(), 2 + UIA_SESSION_LIFETIME_MS);
        assert_eq!((sessions.by_id.len(), sessions.by_age.len()), (1, 1), "all others have expired");
    }

    #[test]
    fn a_session_that_made_a_user_is_good_for_nothing_else() {
        let binding = UiaBinding::new("x", None, &());
        let mut sessions = Sessions::default();
        let id = sessions.open(binding, Vec::new(), 0);
        let registered = Some(user_id!("@alice:localhost").to_owned());
        let remembered = Box::new(Remembered { wish: RegistrationWish::default(), registered });
        sessions.insert(id.clone(), binding, Vec::new(), Some(remembered), 1);
        assert!(sessions.find(&id, binding, 2).is_none() && sessions.alive(&id, 2).is_some());
        assert_eq!((sessions.by_id.len(), sessions.by_age.len()), (1, 1));
        assert!(sessions.alive(&id, 1 + UIA_SESSION_LIFETIME_MS).is_none());
    }

    #[test]
    fn a_closed_session_leaves_nothing() {
        let binding = UiaBinding::new("x", None, &());
        let mut sessions = Sessions::default();
        let id = sessions.open(binding, Vec::new(), 0);
        sessions.close(&id);
        assert!(sessions.by_id.is_empty() && sessions.by_age.is_empty());
    }
}
