//! How much of what a probe saw is kept.

/// The last so many bytes of something longer: what went wrong is mostly said at the end.
pub(super) struct Tail {
    bytes: Vec<u8>,
    size: usize,
}

impl Tail {
    pub(super) fn new(size: usize) -> Tail {
        Tail { bytes: Vec::new(), size }
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        let more = more.get(more.len().saturating_sub(self.size)..).unwrap_or(more);
        let surplus = (self.bytes.len() + more.len()).saturating_sub(self.size);
        self.bytes.drain(..surplus.min(self.bytes.len()));
        self.bytes.extend_from_slice(more);
    }

    /// As text; what is not UTF-8, such as a character that was cut, is replaced.
    pub(super) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        #[track_caller]
        fn check(size: usize, pieces: &[&str], expected: &str) {
            let mut tail = Tail::new(size);
            pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
            assert_eq!(tail.into_text(), expected);
        }
        check(5, &[], "");
        check(5, &["abc"], "abc");
        check(5, &["abc", "de"], "abcde");
        check(5, &["abc", "def"], "bcdef");
        check(5, &["abcdefgh"], "defgh");
        check(5, &["abc", "123456789"], "56789");
        check(0, &["abc"], "");
    }
}
