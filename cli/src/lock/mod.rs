//! `lock`: run a command while holding a lock.
//!
//! ```text
//!  session ─▶ lock ─▶ child ─▶ release ─▶ session destroyed
//!     │         │        │
//!  renewer   monitor   waiter   signals        threads, each of which only tells
//!     └─────────┴────┬───┴─────────┘
//!                    ▼
//!            one loop, which acts
//! ```
//!
//! * The child never outlives the hold: it is stopped when the lock is seen to be lost, and also when nobody could be asked for a
//!   whole TTL, because the session may have ended unseen by then. It really ends after two TTLs at the earliest, so the child has the
//!   second one to stop.
//! * Whatever happens, the session is destroyed at the end, and with it goes every hold.
//! * Paths, flags and contents are those of Consul's clients, so that either's locks exclude the other's.

mod child;
mod lock_key;
mod recipe;
mod semaphore;
#[cfg(test)]
mod tests;

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value, values};
use crate::failure::Failure;
use crate::{duration, session};
use child::{Child, Launch};
use clap::{Arg, ArgMatches, Command, value_parser};
use recipe::{Hold, Recipe};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The exit code for a command that failed, whatever its own was, as in Consul.
const CHILD_FAILED: i32 = 2;

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The session's TTL. As long as that without a renewal, and the lock counts as lost.
    ttl: Duration,
    /// How long after one renewal the next one comes, and how long it may take: two may fail within a TTL.
    renew_every: Duration,
    /// How long a child has between being asked to end and being killed.
    grace: Duration,
    /// Between two attempts where the first one failed.
    pause: Duration,
}

/// Consul's TTL, grace and pause.
const TIMES: Times = Times {
    ttl: Duration::from_secs(15),
    renew_every: Duration::from_secs(5),
    grace: Duration::from_secs(5),
    pause: Duration::from_secs(1),
};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("lock")
            .about("Runs a command while holding a lock")
            .after_help(
                "The lock is the key PREFIX/.lock. With -n it is a semaphore with as many holders. The command is stopped if the\n\
                 lock is lost. It finds CONSUL_LOCK_HELD=true in its environment, QUORATE_LOCK_SESSION, and\n\
                 QUORATE_LOCK_TOKEN: the fencing token, which grows with every hold. A resource that remembers the greatest\n\
                 it has seen can refuse whoever comes late.\n\n\
                 Options go before PREFIX; what follows it belongs to the command.\n\n\
                 Exit codes: 0 the command ran; 1 the lock was not acquired, or was lost; 2 the command failed and\n\
                 -child-exit-code was given.",
            )
            .args([
                option("n", "NUMBER", "How many may hold it at once").short('n').value_parser(value_parser!(u32).range(1..)).default_value("1"),
                option("name", "NAME", "A name for the session, for people"),
                flag("child-exit-code", "Exit with 2 if the command fails"),
                option("monitor-retry", "NUMBER", "How often to ask again when servers fail").value_parser(value_parser!(u32)).default_value("3"),
                flag("pass-stdin", "Let the command read standard input"),
                flag("shell", "Run the command in a shell, $SHELL or /bin/sh").default_value("true"),
                option("timeout", "DURATION", "How long to wait for the lock; 0 for as long as it takes")
                    .value_parser(duration::parse)
                    .default_value("0"),
                option("try", "DURATION", "The same as -timeout, as older scripts say it").value_parser(duration::parse).conflicts_with("timeout"),
                flag("verbose", "Say what happens"),
                Arg::new("prefix").value_name("PREFIX").help("Where the lock is; a slash at its beginning is dropped").required(true),
                Arg::new("child")
                    .value_name("COMMAND")
                    .help("The command with its arguments")
                    .required(true)
                    .num_args(1..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let lock = Lock::wanted(matches, surroundings)?;
    lock.run(surroundings)
}

/// What a thread has to tell.
enum Event {
    /// The lock is held, or was not free in time.
    Acquired(Result<Option<Hold>, Failure>),
    /// The session was alive when it was asked for then.
    Renewed(Instant),
    /// The lock is no longer held.
    Lost(String),
    /// The child has ended.
    Ended,
    /// Somebody wants us to end.
    Signal(&'static str),
}

/// What is to be done.
struct Lock {
    client: Client,
    times: Times,
    name: String,
    recipe: Recipe,
    /// How long to wait for it; none for ever.
    patience: Option<Duration>,
    retries: u32,
    launch: Launch,
    child_exit_code: bool,
    verbose: bool,
}

impl Lock {
    fn wanted(matches: &ArgMatches, surroundings: &Surroundings<'_>) -> Result<Lock, Failure> {
        let prefix = value(matches, "prefix").unwrap_or_default().trim_matches('/');
        if prefix.is_empty() {
            return Err(Failure::new("Name the lock: `quorate lock PREFIX COMMAND`."));
        }
        if is_on(matches, "stale") {
            return Err(Failure::new("Whether a lock is held only the leader knows: leave out -stale."));
        }
        let child: Vec<String> = values(matches, "child").into_iter().map(str::to_owned).collect();
        let name = value(matches, "name").map(str::to_owned);
        let patience = matches.get_one::<Duration>("try").or_else(|| matches.get_one("timeout")).copied();
        let number = |name| matches.get_one::<u32>(name).copied().unwrap_or(1);
        let shell = (surroundings.env)("SHELL").filter(|shell| !shell.is_empty());
        Ok(Lock {
            client: Client::new(matches, surroundings)?,
            times: TIMES,
            name: name.unwrap_or_else(|| format!("Lock for '{}' at '{prefix}'", child.join(" "))),
            recipe: Recipe::new(prefix, number("n")),
            patience: patience.filter(|patience| !patience.is_zero()),
            retries: number("monitor-retry"),
            launch: Launch {
                words: child,
                shell: is_on(matches, "shell").then(|| shell.unwrap_or_else(|| "/bin/sh".to_owned())),
                pass_stdin: is_on(matches, "pass-stdin"),
            },
            child_exit_code: is_on(matches, "child-exit-code"),
            verbose: is_on(matches, "verbose"),
        })
    }

    fn run(self, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
        let (tell, events) = mpsc::channel();
        listen_to_signals(tell.clone())?;
        self.say(surroundings, &format!("Setting up the lock at {}", self.recipe.key()));
        let asked = Instant::now();
        let session = session::made(
            &self.client,
            &json!({
                "Name": self.name, "TTL": format!("{}ms", self.times.ttl.as_millis()), "Behavior": self.recipe.behavior(),
            }),
        )?;
        let (stop_renewing, stopped) = mpsc::channel();
        self.renew(&session, tell.clone(), stopped);
        let mut held = Held { lock: &self, session: &session, events: &events, renewed: asked };
        let outcome = held.run(&tell, surroundings);
        drop(stop_renewing);
        if session::ended(&self.client, &session).is_err() {
            self.say(surroundings, "The session could not be destroyed; it ends by itself");
        }
        outcome
    }

    /// Keeps the session alive until `stopped` says that it need not be.
    fn renew(&self, session: &str, tell: Sender<Event>, stopped: Receiver<()>) {
        let Times { renew_every, pause, .. } = self.times;
        let client = self.client.with_patience(renew_every);
        let session = session.to_owned();
        thread::spawn(move || {
            let mut next = renew_every;
            // Nothing is ever sent: the sender goes when it is over.
            while stopped.recv_timeout(next) == Err(RecvTimeoutError::Timeout) {
                let asked = Instant::now();
                let told = match session::renewed(&client, &session) {
                    Ok(true) => tell.send(Event::Renewed(asked)),
                    Ok(false) => tell.send(Event::Lost("its session has ended".to_owned())),
                    // The loop knows how long this may go on.
                    Err(_) => {
                        next = pause;
                        continue;
                    }
                };
                next = renew_every;
                if told.is_err() {
                    return;
                }
            }
        });
    }

    fn say(&self, surroundings: &mut Surroundings<'_>, sentence: &str) {
        if self.verbose {
            // Whoever no longer reads is no reason to leave a lock behind.
            let _ = writeln!(surroundings.out, "{sentence}").and_then(|()| surroundings.out.flush());
        }
    }
}

fn listen_to_signals(tell: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::new(format!("Error listening to signals: {error}.")))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let name = match signal {
                SIGINT => "SIGINT",
                SIGTERM => "SIGTERM",
                _ => "SIGHUP",
            };
            if tell.send(Event::Signal(name)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The time during which there is a session.
struct Held<'a> {
    lock: &'a Lock,
    session: &'a str,
    events: &'a Receiver<Event>,
    /// When the session was last known to be alive.
    renewed: Instant,
}

impl Held<'_> {
    fn run(&mut self, tell: &Sender<Event>, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
        let Lock { client, recipe, times, retries, .. } = self.lock;
        self.lock.say(surroundings, "Attempting lock acquisition");
        let attempt = recipe::Attempt {
            client: client.clone(),
            recipe: recipe.clone(),
            session: self.session.to_owned(),
            until: self.lock.patience.map(|patience| Instant::now() + patience),
            retries: *retries,
            pause: times.pause,
        };
        let acquirer = (attempt.clone(), tell.clone());
        thread::spawn(move || acquirer.1.send(Event::Acquired(acquirer.0.acquire())));
        let hold = match self.next() {
            Event::Acquired(Ok(Some(hold))) => hold,
            Event::Acquired(Ok(None)) => return Err(Failure::new("Lock acquisition failed: it was not free in time.")),
            Event::Acquired(Err(failure)) => return Err(failure),
            Event::Lost(why) => return Err(Failure::new(format!("Lock acquisition failed: {why}."))),
            Event::Signal(name) => {
                return Err(Failure::new(format!("Interrupted by {name} while waiting for the lock.")));
            }
            Event::Ended | Event::Renewed(_) => return Err(Failure::new("Lock acquisition failed.")),
        };
        let watcher = (attempt.clone(), tell.clone());
        thread::spawn(move || watcher.1.send(Event::Lost(watcher.0.watch())));
        let outcome = self.child(&hold, tell, surroundings);
        let released = attempt.release().map(|()| recipe.clean_up(client));
        match (outcome, released) {
            (Ok(status), Ok(cleaned)) => {
                let said = if cleaned { "Cleanup succeeded" } else { "Cleanup aborted, lock in use" };
                self.lock.say(surroundings, said);
                self.judge(status, surroundings)
            }
            (Ok(_), Err(failure)) | (Err(failure), _) => Err(failure),
        }
    }

    /// Runs the child for as long as the lock is held.
    fn child(
        &mut self,
        hold: &Hold,
        tell: &Sender<Event>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<ExitStatus, Failure> {
        let launch = &self.lock.launch;
        self.lock.say(surroundings, &format!("Starting handler '{}'", launch.words.join(" ")));
        let tell = tell.clone();
        let ended = move || drop(tell.send(Event::Ended));
        let mut child = launch.start(self.session, hold.token, ended)?;
        let why = match self.next() {
            Event::Lost(why) => format!("The lock was lost: {why}. The command was stopped."),
            Event::Signal(name) => format!("Interrupted by {name}. The command was stopped."),
            Event::Ended | Event::Acquired(_) | Event::Renewed(_) => {
                self.lock.say(surroundings, "Child terminated, releasing lock");
                return child.reap();
            }
        };
        self.lock.say(surroundings, "Stopping the command");
        self.stop(&mut child)?;
        Err(Failure::new(why))
    }

    /// Asks a child to end, and ends it if it does not, or if we are asked again.
    fn stop(&self, child: &mut Child) -> Result<(), Failure> {
        child.terminate();
        let killed_at = Instant::now() + self.lock.times.grace;
        loop {
            match self.events.recv_timeout(killed_at.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended) => break,
                Ok(Event::Signal(_)) | Err(_) => {
                    child.kill();
                    break;
                }
                Ok(Event::Lost(_) | Event::Acquired(_) | Event::Renewed(_)) => {}
            }
        }
        child.reap().map(|_| ())
    }

    /// Waits for something to act upon.
    fn next(&mut self) -> Event {
        loop {
            let lost_at = self.renewed + self.lock.times.ttl;
            match self.events.recv_timeout(lost_at.saturating_duration_since(Instant::now())) {
                Ok(Event::Renewed(at)) => self.renewed = at,
                Ok(event) => return event,
                Err(_) => {
                    let ttl = self.lock.times.ttl;
                    return Event::Lost(format!("its session could not be renewed for {ttl:?}"));
                }
            }
        }
    }

    fn judge(&self, status: ExitStatus, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        writeln!(surroundings.err, "The command failed: {status}.")?;
        if self.lock.child_exit_code { Err(Failure::Silent(CHILD_FAILED)) } else { Ok(()) }
    }
}
