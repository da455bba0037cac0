//! After the world has healed, the servers that live vote and no others take part: who lost its disk has joined anew, who left and came back
//! is back, and what they were before is taken out.

use super::{Checked, Violation};
use quorate_protocol::NodeId;
use quorate_protocol::raft::Configuration;

/// Whether a leader's configuration has these servers as voters and nobody else.
///
/// # Errors
/// When it does not.
pub fn check(configuration: &Configuration, servers: &[NodeId]) -> Checked {
    let missing = servers.iter().find(|id| !configuration.is_voter(**id));
    let stranger = configuration.peers.keys().find(|id| !servers.contains(id));
    let seen = match (missing, stranger) {
        (Some(id), _) => format!("server {id} does not vote in {configuration:?}"),
        (None, Some(id)) => format!("{id} is no server and takes part in {configuration:?}"),
        (None, None) => return Ok(()),
    };
    Violation::seen("servers_converge_after_heal", seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::Peer;

    #[test]
    fn who_is_missing_or_too_many_is_seen() {
        let id = |number| NodeId([number; 16]);
        let configuration = |peers: &[(u8, bool)]| Configuration {
            peers: peers
                .iter()
                .map(|(number, voter)| (id(*number), Peer { address: ([10, 0, 0, *number], 1).into(), voter: *voter }))
                .collect(),
            founder: None,
        };
        let check = |peers: &[(u8, bool)]| check(&configuration(peers), &[id(1), id(2)]);
        assert_eq!(check(&[(1, true), (2, true)]), Ok(()));
        assert!(check(&[(1, true)]).is_err(), "one is missing");
        assert!(check(&[(1, true), (2, false)]).is_err(), "one has no vote");
        assert!(check(&[(1, true), (2, true), (3, false)]).is_err(), "one is gone");
    }
}
