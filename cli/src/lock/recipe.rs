//! How a lock is acquired, watched and released: one key for one holder, Consul's semaphore for several.

use super::{lock_key, semaphore};
use crate::client::Client;
use crate::failure::Failure;
use std::thread;
use std::time::{Duration, Instant};

/// How long one question waits at most; then it is asked again. Shorter than a client's patience with an agent.
const WAIT: Duration = Duration::from_secs(30);

/// Which lock.
#[derive(Debug, Clone)]
pub(super) enum Recipe {
    /// One holder: whoever holds the key.
    Lock {
        /// The key.
        key: String,
    },
    /// Several holders, listed in a key.
    Semaphore(semaphore::Semaphore),
}

/// A lock that is held.
pub(super) struct Hold {
    /// Grows with every hold; servers other than Quorate's give none.
    pub(super) token: Option<u64>,
}

/// Why an attempt failed.
pub(super) enum Trouble {
    /// Servers failed: it is worth another attempt.
    Passing(Failure),
    /// It will not be otherwise next time.
    Lasting(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Passing(failure)
    }
}

/// What one attempt came to.
pub(super) enum Try {
    /// It is held.
    Held(Hold),
    /// Somebody else has it: try again.
    Taken,
}

impl Recipe {
    pub(super) fn new(prefix: &str, holders: u32) -> Recipe {
        match holders {
            1 => Recipe::Lock { key: format!("{prefix}/.lock") },
            limit => Recipe::Semaphore(semaphore::Semaphore::new(prefix, limit)),
        }
    }

    /// The key that says who holds it.
    pub(super) fn key(&self) -> &str {
        match self {
            Recipe::Lock { key } => key,
            Recipe::Semaphore(semaphore) => semaphore.key(),
        }
    }

    /// What becomes of keys when the session ends, as in Consul: a contender for a semaphore is a key, which goes with its session.
    pub(super) const fn behavior(&self) -> &'static str {
        match self {
            Recipe::Lock { .. } => "release",
            Recipe::Semaphore(_) => "delete",
        }
    }

    /// Removes the key if nobody uses it any more. Whether it is gone.
    pub(super) fn clean_up(&self, client: &Client) -> bool {
        let cleaned = match self {
            Recipe::Lock { key } => lock_key::clean_up(client, key),
            Recipe::Semaphore(semaphore) => semaphore.clean_up(client),
        };
        // A key that stays is no harm.
        cleaned.unwrap_or(false)
    }
}

/// The attempt to hold a lock for a session, and to go on holding it.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) client: Client,
    pub(super) recipe: Recipe,
    pub(super) session: String,
    /// When to give up; none: never.
    pub(super) until: Option<Instant>,
    pub(super) retries: u32,
    pub(super) pause: Duration,
}

impl Attempt {
    /// Waits until the lock is held; none if it is not in time.
    pub(super) fn acquire(&self) -> Result<Option<Hold>, Failure> {
        let Attempt { client, recipe, session, until, pause, .. } = self;
        self.retrying(|| recipe.prepare(client, session))?;
        loop {
            let asked = Instant::now();
            let left = until.map_or(WAIT, |until| until.saturating_duration_since(asked).min(WAIT));
            // A last look, where no time is left to wait in.
            let wait = left.max(Duration::from_millis(1));
            if let Try::Held(hold) = self.retrying(|| recipe.attempt(client, session, wait))? {
                return Ok(Some(hold));
            }
            let spent = asked.elapsed();
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            // Where servers do not queue, or answer at once because of a lock delay.
            if spent < *pause && spent < wait {
                thread::sleep((*pause).min(wait - spent));
            }
        }
    }

    /// Watches the lock until it is lost, and says why.
    pub(super) fn watch(&self) -> String {
        let mut index = 0;
        loop {
            match self.retrying(|| self.recipe.look(&self.client, &self.session, index, WAIT)) {
                Ok((true, now)) => index = now,
                Ok((false, _)) => return "somebody took it, or it was deleted".to_owned(),
                Err(Failure::Sentence(why)) => return format!("it could not be watched ({why})"),
                Err(_) => return "it could not be watched".to_owned(),
            }
        }
    }

    /// Lets go of it, so that the next one need not wait for a lock delay.
    pub(super) fn release(&self) -> Result<(), Failure> {
        self.retrying(|| self.recipe.release(&self.client, &self.session))
    }

    /// Asks again where servers fail, as often as was said.
    fn retrying<T>(&self, ask: impl Fn() -> Result<T, Trouble>) -> Result<T, Failure> {
        let mut retries = self.retries;
        loop {
            match ask() {
                Err(Trouble::Passing(_)) if retries > 0 => retries -= 1,
                Err(Trouble::Passing(failure) | Trouble::Lasting(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
            thread::sleep(self.pause);
        }
    }
}

impl Recipe {
    fn prepare(&self, client: &Client, session: &str) -> Result<(), Trouble> {
        match self {
            Recipe::Lock { key } => lock_key::refuse_other_use(client, key),
            Recipe::Semaphore(semaphore) => semaphore.contend(client, session),
        }
    }

    fn attempt(&self, client: &Client, session: &str, wait: Duration) -> Result<Try, Trouble> {
        match self {
            Recipe::Lock { key } => lock_key::attempt(client, key, session, wait),
            Recipe::Semaphore(semaphore) => semaphore.attempt(client, session, wait),
        }
    }

    fn release(&self, client: &Client, session: &str) -> Result<(), Trouble> {
        match self {
            Recipe::Lock { key } => lock_key::release(client, key, session),
            Recipe::Semaphore(semaphore) => semaphore.release(client, session),
        }
    }

    /// Whether it is held, as soon as that may have changed since `index`, and the index of the answer.
    fn look(&self, client: &Client, session: &str, index: u64, wait: Duration) -> Result<(bool, u64), Trouble> {
        match self {
            Recipe::Lock { key } => lock_key::look(client, key, session, index, wait),
            Recipe::Semaphore(semaphore) => semaphore.look(client, session, index, wait),
        }
    }
}

/// A duration as the HTTP API takes it.
pub(super) fn millis(wait: Duration) -> String {
    format!("{}ms", wait.as_millis().max(1))
}
