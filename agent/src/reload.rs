//! Reading the configuration again while the agent runs: services and checks are taken over, anything else waits for a restart.

use crate::config::{self, Config, ConfigError, Loaded};
use quorate_protocol::{Definitions, Refusal};
use std::ffi::OsString;

/// What the agent was started with.
#[derive(Debug)]
pub struct Reloader {
    args: Vec<OsString>,
    running: Config,
}

impl Reloader {
    /// Reads again what these arguments name; `running` is what they led to at the start.
    pub fn new(args: Vec<OsString>, running: Config) -> Reloader {
        Reloader { args, running }
    }

    /// What the files say of services and checks now. Blocks while it reads.
    ///
    /// # Errors
    /// [`Refusal::Invalid`]: they cannot be read, or make no sense.
    pub fn read(&self) -> Result<Definitions, Refusal> {
        let refused = |error: ConfigError| Refusal::Invalid(error.to_string());
        let Loaded { config, warnings, .. } = config::load(self.args.clone()).map_err(refused)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let definitions = config.definitions.clone();
        if (Config { definitions: self.running.definitions.clone(), ..config }) != self.running {
            tracing::warn!("the configuration differs in more than services and checks: the rest waits for a restart");
        }
        Ok(definitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        let args: Vec<OsString> = vec!["-dev".into(), "-config-dir".into(), directory.path().into()];
        fs::write(&file, r#"{"service": {"name": "web"}}"#).unwrap();
        let reloader = Reloader::new(args.clone(), config::load(args).unwrap().config);
        let names = |definitions: Definitions| -> Vec<String> {
            definitions.services.into_iter().map(|one| one.service.name).collect()
        };
        assert_eq!(names(reloader.read().unwrap()), ["web"]);
        fs::write(&file, r#"{"services": [{"name": "db"}, {"name": "web"}], "log_level": "warn"}"#).unwrap();
        assert_eq!(names(reloader.read().unwrap()), ["db", "web"]);
        fs::write(&file, "{").unwrap();
        let Err(Refusal::Invalid(why)) = reloader.read() else { panic!("it was read") };
        assert!(why.contains("a.json: is not JSON"), "{why}");
    }
}
