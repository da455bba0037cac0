//! Defects that can be switched on, one at a time, to prove that the checkers of the simulator see them (feature
//! `planted-bugs`). Without the feature each question below is a constant `false`, and nothing of this is left.

/// A defect of the store, as it could have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// An entry is applied again after a later one, at every eighth index.
    #[cfg(feature = "planted-bugs")]
    AppliedTwice,
    /// A compare-and-set does not see that the entry just before it changed the key.
    CasRace,
    /// A key that is held is given to whoever asks next.
    LockRegranted,
    /// A renewal does not begin the session's TTL anew.
    RenewalLost,
    /// A deletion wakes nobody and is missing in the change stream.
    WatchGap,
    /// Deletions are not remembered, so the index of a prefix goes back.
    IndexGoesBack,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 6] =
        [Bug::AppliedTwice, Bug::CasRace, Bug::LockRegranted, Bug::RenewalLost, Bug::WatchGap, Bug::IndexGoesBack];
}

/// Which defect is switched on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub fn with(bug: Option<Bug>) -> Planted {
        Planted { bug }
    }

    #[cfg(feature = "planted-bugs")]
    pub fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub const fn has(self, _: Bug) -> bool {
        false
    }
}

#[cfg(all(test, feature = "planted-bugs"))]
mod tests {
    use super::*;
    use crate::testing::{Scene, on, pair, session, session_id};
    use quorate_protocol::{KvRead, KvWrite, LogIndex, Outcome, Page, Read, Selection, Session, Timer};
    use std::time::Duration;

    /// What goes wrong with a bug, and does not without.
    fn goes_wrong(bug: Bug, story: impl Fn(&mut Scene) -> bool) {
        let mut scene = Scene::new();
        assert!(!story(&mut scene), "without the bug");
        let mut scene = Scene::new();
        scene.store.plant(Some(bug));
        assert!(story(&mut scene), "{bug:?}");
        scene.store.plant(None);
        assert!(Bug::ALL.iter().all(|bug| !scene.store.state().planted.has(*bug)));
    }

    #[test]
    fn each_of_them_does_harm() {
        goes_wrong(Bug::AppliedTwice, |scene| {
            (0..8).any(|n| {
                let value = n.to_string();
                scene.put("a", &value);
                scene.entry("a").unwrap().value.value != value
            })
        });
        goes_wrong(Bug::CasRace, |scene| {
            let cas = |value| KvWrite::Put { pair: pair("a", value), cas: Some(LogIndex(0)) };
            scene.kv(cas("1"));
            scene.kv(cas("2")) == Outcome::Done
        });
        goes_wrong(Bug::LockRegranted, |scene| {
            scene.done(on("n1", None));
            for id in [1, 2] {
                scene.session(session(id, "n1"));
            }
            scene.acquire("a", 1);
            matches!(scene.acquire("a", 2), Outcome::Acquired { .. })
        });
        goes_wrong(Bug::RenewalLost, |scene| {
            scene.done(on("n1", None));
            scene.session(Session { ttl: Some(Duration::from_secs(1)), ..session(1, "n1") });
            let armed = scene.store.applied_index().0;
            scene.renew(1);
            scene.expire(&Timer::Session(session_id(1)), armed);
            !scene.lives(1)
        });
        goes_wrong(Bug::WatchGap, |scene| {
            scene.put("a", "1");
            scene.delete("a");
            let of = Selection::Key("a".to_owned());
            let changes = Read::Kv(KvRead::Changes { of, after: LogIndex(2), limit: 9 });
            !scene.touched.concerns(&changes)
        });
        goes_wrong(Bug::IndexGoesBack, |scene| {
            scene.put("a/1", "");
            scene.put("a/2", "");
            let list = Read::Kv(KvRead::List { prefix: "a/".to_owned(), page: Page::default() });
            let before = scene.index(&list);
            scene.delete("a/2");
            scene.index(&list) < before
        });
    }
}
