//! What an agent says of itself, changed while it runs; and what an operator says of members that are gone.

use crate::Engine;
use quorate_protocol::go::quote;
use quorate_protocol::member::is_own_tag;
use quorate_protocol::wire::gossip::check_tags;
use quorate_protocol::{Refusal, Reply, Time};
use std::collections::{BTreeMap, BTreeSet};

impl Engine {
    /// Sets and takes away tags; they are kept over restarts.
    pub(crate) fn change_tags(&mut self, now: Time, set: BTreeMap<String, String>, delete: &BTreeSet<String>) -> Reply {
        let invalid = |why: String| Reply::Refused(Refusal::Invalid(why));
        if let Some(own) = set.keys().chain(delete).find(|key| is_own_tag(key)) {
            return invalid(format!("the tag {} is the agent's own and cannot be changed: choose another", quote(own)));
        }
        if set.keys().any(String::is_empty) {
            return invalid("a tag without a key cannot be set: write key=value".to_owned());
        }
        let mut tags = self.gossip.me().tags.clone();
        tags.retain(|key, _| !delete.contains(key));
        tags.extend(set);
        if let Err(why) = check_tags(&tags) {
            return invalid(format!(
                "the tags are too long ({why}), the agent's own among them: shorten or delete some"
            ));
        }
        if !self.gossip.set_tags(now, tags.clone()) {
            return Reply::Refused(Refusal::Stopping);
        }
        tags.retain(|key, _| !is_own_tag(key));
        self.save_tags(tags);
        Reply::Done
    }

    /// Declares a failed member gone for good.
    pub(crate) fn force_leave(&mut self, now: Time, name: &str, prune: bool) -> Reply {
        if self.gossip.force_leave(now, name, prune) {
            return Reply::Done;
        }
        // The first sentence and its status are Consul's.
        let lives = self.gossip.members().any(|member| member.name == name);
        Reply::Refused(Refusal::NotFound(if lives {
            format!("the node {} is alive: let it leave itself, with `quorate leave` there", quote(name))
        } else {
            format!("agent: No node found with name '{name}'")
        }))
    }
}
