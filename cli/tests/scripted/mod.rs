//! An agent that says what the script says, and remembers what it was asked.

#![allow(dead_code)]

pub mod agent;
pub mod archive;
pub mod directory;
pub mod keys;

use agent::{Asked, Said};
use quorate_cli::Surroundings;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What one run of the program left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
    /// `METHOD path body`, with ` token=…` behind it where one was shown.
    pub asked: Vec<String>,
}

/// Runs `quorate <line>` against an agent that gives these answers in this order.
pub fn quorate(line: &str, answers: &[(u16, &str)]) -> Ended {
    Run::default().against(line, answers)
}

/// The same with answers that have headers or bytes that are no text.
pub fn quorate_told(line: &str, answers: Vec<Said>) -> Ended {
    Run::default().told(line, answers)
}

/// A run with more around it.
#[derive(Default)]
pub struct Run {
    pub input: Vec<u8>,
    pub env: BTreeMap<String, String>,
    /// Whether standard error is a terminal.
    pub watched: bool,
}

impl Run {
    pub fn against(&self, line: &str, answers: &[(u16, &str)]) -> Ended {
        self.told(line, answers.iter().map(|(status, body)| Said::new(*status, body)).collect())
    }

    pub fn told(&self, line: &str, answers: Vec<Said>) -> Ended {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = Mutex::new(VecDeque::from(answers));
        let seen = asked.clone();
        let address = agent::agent(move |request| {
            seen.lock().unwrap().push(shown(&request));
            script.lock().unwrap().pop_front().unwrap_or_else(|| Said::new(599, "the script ends here"))
        });
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut ended = self.at(&address, &words);
        ended.asked = std::mem::take(&mut *asked.lock().unwrap());
        ended
    }

    /// Runs it against an agent that is somewhere.
    pub fn at(&self, address: &str, words: &[&str]) -> Ended {
        let mut env = self.env.clone();
        env.entry("CONSUL_HTTP_ADDR".into()).or_insert(address.to_owned());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input = self.input.as_slice();
        let look = |name: &str| env.get(name).cloned();
        let args = words.iter().map(OsString::from).collect();
        let mut surroundings =
            Surroundings { input: &mut input, out: &mut out, err: &mut err, err_is_terminal: self.watched, env: &look };
        let code = quorate_cli::run(args, &mut surroundings);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code, out: text(out), err: text(err), asked: Vec::new() }
    }
}

/// A request as tests compare it.
pub fn shown(request: &Asked) -> String {
    let Asked { method, target, token, body } = request;
    let line = format!("{method} {target} {}", String::from_utf8_lossy(body));
    let token = if token.is_empty() { String::new() } else { format!(" token={token}") };
    format!("{}{token}", line.trim_end())
}

/// A reader that has gone, as `head` has after its first line.
pub struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}
