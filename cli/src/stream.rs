//! Answers that come piece by piece: server-sent events.

use crate::client::Stream;
use crate::failure::Failure;
use std::io::{BufRead, BufReader, Lines, Read};

/// What an agent tells, one event after another.
pub(crate) struct Events {
    lines: Lines<BufReader<Box<dyn Read>>>,
    /// What is followed, for sentences.
    what: &'static str,
    kind: String,
}

impl Events {
    pub(crate) fn new(stream: Stream, what: &'static str) -> Events {
        Events { lines: BufReader::new(stream.body).lines(), what, kind: String::new() }
    }

    /// The next event's type and data; none at the stream's end.
    pub(crate) fn next(&mut self) -> Result<Option<(String, String)>, Failure> {
        let what = self.what;
        for line in self.lines.by_ref() {
            let line =
                line.map_err(|error| Failure::new(format!("The stream of {what} ended: {error}. Ask again.")))?;
            if let Some(name) = line.strip_prefix("event: ") {
                self.kind = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Ok(Some((std::mem::take(&mut self.kind), data.to_owned())));
            } else if let Some(why) = line.strip_prefix(": ") {
                return Err(Failure::new(format!("The agent ended the stream of {what}: {why}")));
            }
        }
        Ok(None)
    }
}
