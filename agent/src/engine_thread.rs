//! The thread that the engine has to itself, with the transport that feeds it.
//!
//! A write passes from socket to engine to disk and back several times. On a runtime of many threads each of these steps may wake another
//! thread, which for a lone write takes longer than the work itself; here they follow one another on one thread
//! (docs/decisions/0011-engine-thread.md). Front doors and probes stay on the runtime of many threads.

use crate::drive::{Drive, End, Inbox};
use std::io;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The thread before it runs, and what is opened for it.
pub struct EngineThread(Option<Runtime>);

impl EngineThread {
    /// A thread that is not started yet.
    ///
    /// # Errors
    /// If the system has no more handles.
    pub fn new() -> io::Result<EngineThread> {
        Builder::new_current_thread().enable_all().build().map(|runtime| EngineThread(Some(runtime)))
    }

    /// Opens something, and spawns its tasks, on this thread.
    pub fn open<T>(&self, open: impl FnOnce() -> T) -> T {
        let _inside = self.0.as_ref().map(Runtime::enter);
        open()
    }

    /// Starts it. How the drive ended comes out, or nothing if it broke.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(self, drive: Drive, inbox: Inbox) -> io::Result<oneshot::Receiver<End>> {
        let (ended, end) = oneshot::channel();
        let mut thread = self;
        std::thread::Builder::new().name("engine".into()).spawn(move || {
            if let Some(runtime) = thread.0.take() {
                let _ = ended.send(runtime.block_on(drive.run(inbox)));
            }
        })?;
        Ok(end)
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        // It may be dropped by a task, which must not wait for what runs here.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
