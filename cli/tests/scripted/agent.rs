//! An agent over real HTTP that says what a function says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub token: String,
    pub body: Vec<u8>,
}

/// What it says.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Said {
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Said {
        Said { status, headers: Vec::new(), body: body.as_ref().to_vec() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Said {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Starts one and tells where it is. Requests come from threads of their own, so the function may take its time.
pub fn agent(say: impl Fn(Asked) -> Said + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let say = Arc::new(say);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let say = say.clone();
            std::thread::spawn(move || serve(stream.unwrap(), say.as_ref()));
        }
    });
    address
}

fn serve(stream: TcpStream, say: &dyn Fn(Asked) -> Said) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let Some((method, target)) = first.trim_end().trim_end_matches(" HTTP/1.1").split_once(' ') else { return };
    let (mut length, mut token) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-consul-token" => token = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let Said { status, headers, body } =
        say(Asked { method: method.to_owned(), target: target.to_owned(), token, body });
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = stream;
    let length = body.len();
    // Whoever asked may have gone meanwhile.
    let _ = write!(stream, "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.write_all(&body));
}
