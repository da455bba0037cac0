//! What is still to be passed on, and how often.

use std::collections::BTreeMap;

/// The most pieces of news that wait. Beyond it the one that was sent most often goes: most members have it already, and anti-entropy brings it to the rest.
const MAX_WAITING: usize = 1024;
/// How many are looked at for each datagram: the shorter ones behind a long one fill it up.
const LOOKED_AT: usize = 32;

/// News in the order in which it is sent: what was sent least often first, of that the oldest (as memberlist's queue).
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: BTreeMap<(u32, u64), Vec<u8>>,
    last: u64,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a piece of news. Returns false if another had to go for it.
    pub(crate) fn push(&mut self, news: Vec<u8>) -> bool {
        self.last += 1;
        let had_room = self.waiting.len() < MAX_WAITING;
        if !had_room {
            self.waiting.pop_last();
        }
        self.waiting.insert((0, self.last), news);
        had_room
    }

    /// What one member is sent in one round: at most so many packets of `room` bytes, each piece in one of them, behind its length. A piece
    /// is gone once it was sent `times` times.
    pub(crate) fn take(&mut self, packets: usize, room: usize, times: u32) -> Vec<Vec<u8>> {
        let mut filled = vec![Vec::new(); packets];
        let mut taken = Vec::new();
        for (place, news) in self.waiting.iter().take(LOOKED_AT * packets) {
            let fits = |packet: &&mut Vec<u8>| packet.len() + 2 + news.len() <= room;
            if let Some(packet) = filled.iter_mut().find(fits) {
                packet.extend_from_slice(&u16::try_from(news.len()).unwrap_or(u16::MAX).to_be_bytes());
                packet.extend_from_slice(news);
                taken.push(*place);
            }
        }
        for (sent, number) in taken {
            if let Some(news) = self.waiting.remove(&(sent, number)).filter(|_| sent + 1 < times) {
                self.waiting.insert((sent + 1, number), news);
            }
        }
        filled.retain(|packet| !packet.is_empty());
        filled
    }

    /// Nobody is left to tell.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(backlog: &mut Backlog, room: usize, times: u32) -> Vec<u8> {
        let packet = backlog.take(1, room, times).pop().unwrap_or_default();
        assert!(packet.len() <= room);
        packet
    }

    #[test]
    fn each_is_sent_as_often_as_wanted_and_the_least_sent_goes_first() {
        let mut backlog = Backlog::default();
        backlog.push(vec![1]);
        assert_eq!(filled(&mut backlog, 3, 3), [0, 1, 1]);
        backlog.push(vec![2]);
        assert_eq!(filled(&mut backlog, 3, 3), [0, 1, 2]);
        assert_eq!(filled(&mut backlog, 6, 3), [0, 1, 1, 0, 1, 2]);
        assert_eq!(filled(&mut backlog, 6, 3), [0, 1, 1, 0, 1, 2]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_member_is_sent_a_piece_once_in_a_round() {
        let mut backlog = Backlog::default();
        backlog.push(vec![1]);
        assert_eq!(backlog.take(4, 100, 9), [[0, 1, 1]]);
        backlog.push(vec![2]);
        assert_eq!(backlog.take(4, 3, 9), [[0, 1, 2], [0, 1, 1]]);
    }

    #[test]
    fn a_long_one_does_not_keep_short_ones_waiting() {
        let mut backlog = Backlog::default();
        backlog.push(vec![9; 50]);
        backlog.push(vec![1]);
        assert_eq!(filled(&mut backlog, 10, 1), [0, 1, 1]);
        assert_eq!(filled(&mut backlog, 52, 1).len(), 52);
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_was_sent_most_often_makes_room() {
        let mut backlog = Backlog::default();
        backlog.push(vec![7]);
        filled(&mut backlog, 3, 9);
        assert!((1..MAX_WAITING).all(|_| backlog.push(vec![1])));
        assert!(!backlog.push(vec![1]));
        assert_eq!(backlog.waiting.len(), MAX_WAITING);
        assert!(backlog.waiting.values().all(|news| *news == [1]));
    }
}
