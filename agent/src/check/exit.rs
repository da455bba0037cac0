//! What the exit code of a program says: 0 is passing, 1 warning, anything else critical.

use quorate_protocol::Status;

/// The status that an exit code means; none where the program was ended by a signal.
pub(super) const fn status(code: Option<i64>) -> Status {
    match code {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        _ => Status::Critical,
    }
}
