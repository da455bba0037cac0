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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scene;
    use quorate_protocol::{Answer, Read, Write};

    fn configure(scene: &mut Scene, min_quorum: u32, cas: Option<u64>) -> Outcome {
        let config = AutopilotConfig { min_quorum, ..AutopilotConfig::default() };
        scene.write(&Write::Autopilot { config, cas: cas.map(LogIndex) })
    }

    /// The minimal quorum with its modify index, and the index of the answer.
    fn configured(scene: &Scene) -> ((u32, u64), u64) {
        match scene.read(&Read::Autopilot) {
            (Answer::Autopilot(row), index) => ((row.min_quorum, row.modify_index.0), index),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn settings_are_compared_and_set() {
        let mut scene = Scene::new();
        assert_eq!(configured(&scene), ((0, 0), 1), "the defaults, never set");
        assert_eq!(configure(&mut scene, 3, Some(9)), Outcome::Unmatched { found: LogIndex(0) });
        assert_eq!(configure(&mut scene, 3, Some(0)), Outcome::Done);
        assert_eq!(configured(&scene), ((3, 3), 3));
        assert!(scene.touched.concerns(&Read::Autopilot));
        assert_eq!(configure(&mut scene, 3, None), Outcome::Done);
        assert!(scene.touched.is_empty(), "the same again changes nothing");
        assert_eq!(configure(&mut scene, 5, Some(0)), Outcome::Unmatched { found: LogIndex(3) });
        assert_eq!(configure(&mut scene, 5, Some(3)), Outcome::Done);
        assert_eq!(configured(&scene), ((5, 6), 6));
    }
}
