//! How the leader looks after servers: one row of settings.

use crate::edit::Edit;
use crate::index::Topic;
use crate::store::State;
use quorate_protocol::{AutopilotConfig, LogIndex, Outcome, Row};
use std::sync::Arc;

impl State {
    /// The settings; the defaults, with indexes of zero, where they were never set.
    pub(crate) fn autopilot(&self) -> Arc<Row<AutopilotConfig>> {
        let never_set = || {
            let value = AutopilotConfig::default();
            Arc::new(Row { value, create_index: LogIndex::ZERO, modify_index: LogIndex::ZERO })
        };
        self.autopilot.clone().unwrap_or_else(never_set)
    }
}

impl Edit<'_> {
    pub fn configure_autopilot(&mut self, config: &AutopilotConfig, cas: Option<LogIndex>) -> Outcome {
        let existing = self.state.autopilot.as_ref();
        let found = existing.map_or(LogIndex::ZERO, |row| row.modify_index);
        if cas.is_some_and(|expected| expected != found) {
            return Outcome::Unmatched { found };
        }
        if existing.is_none_or(|row| row.value != *config) {
            let create_index = existing.map_or(self.index, |row| row.create_index);
            let row = Row { value: config.clone(), create_index, modify_index: self.index };
            self.state.autopilot = Some(Arc::new(row));
            self.touch([Topic::Autopilot]);
        }
        Outcome::Done
    }
}
