//! How far a long transfer is, for people who watch.

use crate::command::Surroundings;
use flate2::write::GzDecoder;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Faster than this nobody reads.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;
const MIB: f64 = (1 << 20) as f64;

/// Which bytes the total counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Those that are read.
    AsRead,
    /// Those that they become when they are unpacked.
    Unpacked,
}

/// A line on the terminal that is drawn again and again, and is gone at the end. Without a terminal there is none.
pub(super) struct Progress<'a> {
    doing: &'static str,
    total: Option<u64>,
    counted: Counted,
    terminal: Option<&'a mut dyn Write>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(
        doing: &'static str,
        total: Option<u64>,
        counted: Counted,
        surroundings: &'a mut Surroundings<'_>,
    ) -> Progress<'a> {
        let terminal: Option<&mut dyn Write> =
            if surroundings.err_is_terminal { Some(&mut *surroundings.err) } else { None };
        Progress { doing, total, counted, terminal }
    }

    /// Shows how much has been read.
    pub(super) fn over<R: Read>(self, inner: R) -> Watched<'a, R> {
        let unpacking = (self.counted == Counted::Unpacked).then(|| GzDecoder::new(Length(0)));
        Watched { inner, progress: self, read: 0, unpacking, drawn: None }
    }

    /// What is shown when so many bytes are read, and of those that the total counts there are so many.
    fn line(&self, read: u64, done: u64) -> String {
        let (doing, mib) = (self.doing, read as f64 / MIB);
        match self.total.filter(|total| *total > 0) {
            None => format!("\r{doing}: {mib:.1} MiB"),
            Some(total) => {
                let part = |of: u64| u128::from(done.min(total)) * u128::from(of) / u128::from(total);
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
    unpacking: Option<GzDecoder<Length>>,
    drawn: Option<Instant>,
}

/// Counts what is written, and keeps nothing.
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        if self.progress.terminal.is_none() {
            return Ok(count);
        }
        let mut done = self.read;
        if let Some(unpacking) = &mut self.unpacking {
            // What cannot be unpacked is refused when it is verified; here it only stops the bar.
            let _ = unpacking.write_all(buffer.get(..count).unwrap_or_default()).and_then(|()| unpacking.flush());
            done = unpacking.get_ref().0;
        }
        let line = self.progress.line(self.read, done);
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
        let line = |total, read| {
            Progress { doing: "Saving", total, counted: Counted::AsRead, terminal: None }.line(read, read)
        };
        assert_eq!(line(None, 3 << 19), "\rSaving: 1.5 MiB");
        assert_eq!(line(Some(0), 0), "\rSaving: 0.0 MiB");
        assert_eq!(line(Some(200), 100), "\rSaving: [###############---------------]  50 %  0.0 MiB");
        assert_eq!(line(Some(10), 20), format!("\rSaving: [{}] 100 %  0.0 MiB", "#".repeat(30)));
        assert!(line(Some(u64::MAX), u64::MAX).contains("100 %"));
    }
}
