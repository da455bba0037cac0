//! How far a long transfer is, for people who watch.

use crate::command::Surroundings;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Faster than this nobody reads.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;
const MIB: f64 = (1 << 20) as f64;

/// A line on the terminal that is drawn again and again, and is gone at the end. Without a terminal there is none.
pub(super) struct Progress<'a> {
    doing: &'static str,
    total: Option<u64>,
    terminal: Option<&'a mut dyn Write>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(doing: &'static str, total: Option<u64>, surroundings: &'a mut Surroundings<'_>) -> Progress<'a> {
        let terminal: Option<&mut dyn Write> =
            if surroundings.err_is_terminal { Some(&mut *surroundings.err) } else { None };
        Progress { doing, total, terminal }
    }

    /// Shows how much has been read.
    pub(super) fn over<R: Read>(self, inner: R) -> Watched<'a, R> {
        Watched { inner, progress: self, read: 0, drawn: None }
    }

    fn line(&self, read: u64) -> String {
        let (doing, mib) = (self.doing, read as f64 / MIB);
        match self.total.filter(|total| *total > 0) {
            None => format!("\r{doing}: {mib:.1} MiB"),
            Some(total) => {
                let part = |of: u64| u128::from(read.min(total)) * u128::from(of) / u128::from(total);
                let full = usize::try_from(part(WIDTH)).unwrap_or(0);
                let bar: String = (0..WIDTH as usize).map(|at| if at < full { '#' } else { '-' }).collect();
                format!("\r{doing}: [{bar}] {:3} %  {mib:.1} MiB", part(100))
            }
        }
    }
}

/// Something that is read while people watch.
pub(super) struct Watched<'a, R> {
    inner: R,
    progress: Progress<'a>,
    read: u64,
    drawn: Option<Instant>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        let line = self.progress.line(self.read);
        if let Some(terminal) = &mut self.progress.terminal
            && self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY)
        {
            self.drawn = Some(Instant::now());
            // A terminal that is gone is no reason to stop.
            let _ = terminal.write_all(line.as_bytes()).and_then(|()| terminal.flush());
        }
        Ok(count)
    }
}

impl<R> Drop for Watched<'_, R> {
    /// Leaves an empty line for what comes next.
    fn drop(&mut self) {
        if let (Some(terminal), Some(_)) = (&mut self.progress.terminal, self.drawn) {
            let _ = terminal.write_all(b"\r\x1b[K").and_then(|()| terminal.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = |total, read| Progress { doing: "Saving", total, terminal: None }.line(read);
        assert_eq!(line(None, 3 << 19), "\rSaving: 1.5 MiB");
        assert_eq!(line(Some(0), 0), "\rSaving: 0.0 MiB");
        assert_eq!(line(Some(200), 100), "\rSaving: [###############---------------]  50 %  0.0 MiB");
        assert_eq!(line(Some(10), 20), format!("\rSaving: [{}] 100 %  0.0 MiB", "#".repeat(30)));
        assert!(line(Some(u64::MAX), u64::MAX).contains("100 %"));
    }
}
