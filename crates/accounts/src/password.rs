//! Password hashes: argon2id (RFC 9106), off the async threads and few at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{AccountError, settings::PasswordCost};

/// Longest password, in bytes: hashing time must not depend on what somebody sends.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// How many hashes may wait for a core; more than that are refused as [`AccountError::Busy`].
pub const PASSWORDS_WAITING_MAX: usize = 512;

/// Refuses what cannot become a password.
pub(crate) fn check(password: &str) -> Result<(), AccountError> {
    if password.is_empty() {
        return Err(AccountError::UnusablePassword("The password is empty."));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AccountError::UnusablePassword("The password is longer than 512 bytes."));
    }
    Ok(())
}

/// Hashes and verifies with at most as many threads as the machine has cores, so that a wave of logins leaves the
/// blocking pool and the memory to the rest of the server.
#[derive(Debug)]
pub(crate) struct PasswordHasher {
    argon2: Argon2<'static>,
    cores: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Verified for users that do not exist, so that they take as long as the others.
    nobody: String,
    /// Hashes computed so far; tests compare the work of two paths with it.
    work: AtomicU64,
}

impl PasswordHasher {
    /// A hasher of the given cost. Computes one hash.
    ///
    /// # Errors
    /// Parameters that argon2 does not allow.
    pub(crate) async fn new(cost: PasswordCost) -> Result<Self, AccountError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None)
            .map_err(|error| AccountError::Settings(error.to_string()))?;
        let mut hasher = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            cores: Arc::new(Semaphore::new(available_parallelism().map_or(1, Into::into))),
            waiting: AtomicUsize::new(0),
            nobody: String::new(),
            work: AtomicU64::new(0),
        };
        hasher.nobody = hasher.hash("nobody has this password").await?;
        Ok(hasher)
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// [`AccountError::UnusablePassword`], [`AccountError::Busy`].
    pub(crate) async fn hash(&self, password: &str) -> Result<String, AccountError> {
        check(password)?;
        let argon2 = self.argon2.clone();
        let password = Zeroizing::new(password.to_owned());
        self.run(move || argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|_| AccountError::UnusablePassword("The password cannot be hashed."))
    }

    /// Whether the password belongs to the hash. Without a hash, or with an over-long password, it does the same work
    /// and says no.
    ///
    /// # Errors
    /// [`AccountError::Busy`].
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, AccountError> {
        let fits = password.len() <= PASSWORD_BYTES_MAX;
        let possible = fits && hash.is_some();
        let argon2 = self.argon2.clone();
        let password = Zeroizing::new(if fits { password.to_owned() } else { String::new() });
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        let matches = self
            .run(move || {
                // The cost is that of the stored hash, which may be older than the settings.
                PasswordHash::new(&hash)
                    .is_ok_and(|parsed| argon2.verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await?;
        Ok(possible && matches)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AccountError> {
        let _queued = Queued::enter(&self.waiting)?;
        let permit = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| AccountError::Stopped)?;
        self.work.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when the request behind it was cancelled.
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| AccountError::Stopped)
    }

    /// Hashes computed since the start.
    #[cfg(test)]
    pub(crate) fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }
}

/// A place in the queue, given back on drop.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Result<Self, AccountError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= PASSWORDS_WAITING_MAX {
            return Err(AccountError::Busy);
        }
        Ok(place)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{PASSWORD_BYTES_MAX, PASSWORDS_WAITING_MAX, PasswordHasher, Queued};
    use crate::{AccountError, settings::PasswordCost};

    async fn cheap() -> PasswordHasher {
        PasswordHasher::new(PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 }).await.unwrap()
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let hasher = cheap().await;
        let hash = hasher.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_ne!(hash, hasher.hash("correct horse").await.unwrap(), "salted");
        assert!(hasher.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!hasher.verify("battery staple", Some(&hash)).await.unwrap());
        assert!(!hasher.verify("correct horse", Some("not a hash")).await.unwrap());
    }

    #[tokio::test]
    async fn no_hash_means_no_but_the_same_work() {
        let hasher = cheap().await;
        let before = hasher.work();
        assert!(!hasher.verify("nobody has this password", None).await.unwrap());
        assert_eq!(hasher.work(), before + 1);
    }

    #[tokio::test]
    async fn empty_and_over_long_passwords_are_refused() {
        let hasher = cheap().await;
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert!(matches!(hasher.hash("").await, Err(AccountError::UnusablePassword(_))));
        assert!(matches!(hasher.hash(&long).await, Err(AccountError::UnusablePassword(_))));
        let hash = hasher.hash(&long[1..]).await.unwrap();
        assert!(hasher.verify(&long[1..], Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&long, Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_still_verifies() {
        let old = PasswordHasher::new(PasswordCost { memory_kib: 16, iterations: 2, parallelism: 1 }).await.unwrap();
        let hash = old.hash("correct horse").await.unwrap();
        assert!(cheap().await.verify("correct horse", Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn impossible_costs_are_refused() {
        let result = PasswordHasher::new(PasswordCost { memory_kib: 1, iterations: 0, parallelism: 9 }).await;
        assert!(matches!(result, Err(AccountError::Settings(_))));
    }

    #[test]
    fn the_queue_is_bounded() {
        let waiting = std::sync::atomic::AtomicUsize::new(0);
        let places: Vec<_> = (0..PASSWORDS_WAITING_MAX).map(|_| Queued::enter(&waiting).unwrap()).collect();
        assert!(matches!(Queued::enter(&waiting), Err(AccountError::Busy)));
        drop(places);
        assert!(Queued::enter(&waiting).is_ok());
    }
}
