//! Keys while the agent runs: orders that came in queries, and the ring itself where two members differ, over streams alone.

use crate::keyring::Keyring;
use crate::machine::{Gossip, Output};
use quorate_protocol::Time;
use quorate_protocol::keyring::{KeyStamp, KeyringChange, KeyringRefusal, KeyringState};
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::stream::Origin;

impl Gossip {
    /// The keys.
    pub const fn keyring(&self) -> &Keyring {
        self.seal.keyring()
    }

    /// Carries out an order of that stamp. Where anything changed, [`Output::KeysChanged`] follows.
    ///
    /// # Errors
    /// [`KeyringRefusal`]; nothing changed.
    pub fn change_keys(&mut self, change: &KeyringChange, stamp: KeyStamp) -> Result<bool, KeyringRefusal> {
        let changed = self.seal.keyring_mut().change(change, stamp)?;
        if changed {
            self.outputs.push_back(Output::KeysChanged);
        }
        Ok(changed)
    }

    /// Tells another of our keys, if its digest shows that it was ordered otherwise. It proved by its certificate that it holds one of them.
    pub(crate) fn compare_keys(&mut self, from: Origin, digest: u64) {
        if digest != self.keyring().digest() {
            let message =
                GossipMessage::Keys { label: self.seal.label().to_owned(), state: self.keyring().state().clone() };
            self.outputs.push_back(Output::Message { to: from.into(), message });
        }
    }

    /// Takes in what another was ordered. Orders to come are later.
    pub(crate) fn merge_keys(&mut self, now: Time, state: KeyringState) {
        if self.seal.keyring_mut().merge(state) {
            self.witness_keys();
            self.count("keyring_caught_up");
            self.outputs.push_back(Output::KeysChanged);
            // What others sealed meanwhile could not be opened: how they are is in the full state.
            self.sync_soon(now);
        }
    }

    /// The clock of events, which orders of keys share, is never behind the keyring.
    pub(crate) fn witness_keys(&mut self) {
        let latest = self.keyring().latest().ltime;
        if !self.news.events.witness(latest) {
            self.count("news_clock_leapt");
        }
    }
}
