//! An agent that says what the script says, and remembers what it was asked.

#![allow(dead_code)]

use quorate_cli::Surroundings;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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

/// A run with more around it.
#[derive(Default)]
pub struct Run {
    pub input: Vec<u8>,
    pub env: BTreeMap<String, String>,
}

impl Run {
    pub fn against(&self, line: &str, answers: &[(u16, &str)]) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Vec<(u16, String)> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let seen = asked.clone();
        std::thread::spawn(move || {
            for (status, body) in script {
                serve(listener.accept().unwrap().0, status, &body, &seen);
            }
        });
        let mut env = self.env.clone();
        env.entry("CONSUL_HTTP_ADDR".into()).or_insert(address);
        let mut ended = self.with(line, &env);
        ended.asked = std::mem::take(&mut *asked.lock().unwrap());
        ended
    }

    pub fn with(&self, line: &str, env: &BTreeMap<String, String>) -> Ended {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input = self.input.as_slice();
        let look = |name: &str| env.get(name).cloned();
        let args = line.split_whitespace().map(OsString::from).collect();
        let mut surroundings = Surroundings { input: &mut input, out: &mut out, err: &mut err, env: &look };
        let code = quorate_cli::run(args, &mut surroundings);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code, out: text(out), err: text(err), asked: Vec::new() }
    }
}

fn serve(stream: TcpStream, status: u16, answer: &str, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut token) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-consul-token" => token = format!(" token={value}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = format!("{} {}", first.trim_end().trim_end_matches(" HTTP/1.1"), String::from_utf8_lossy(&body));
    asked.lock().unwrap().push(format!("{}{token}", line.trim_end()));
    let mut stream = stream;
    let length = answer.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}").unwrap();
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
