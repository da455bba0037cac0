//! Why a command ended without doing what it was asked.

use std::io;

/// Each ends the process with a code; the text goes to standard error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong, and the sentence says what to do: code 1.
    Sentence(String),
    /// There is nothing to show, which some scripts want to know: the code alone.
    Silent(i32),
    /// Whoever read our output has gone (`| head`): there is nobody to tell, and nothing is wrong.
    NobodyReads,
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Failure {
        Failure::Sentence(sentence.into())
    }
}

/// What a write to our own output may end in.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Sentence(format!("Error writing the output: {error}")),
        }
    }
}
