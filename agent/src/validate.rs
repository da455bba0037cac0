//! `quorate validate`: what the agent would say of these files, without starting one.

use crate::config::{self, ConfigError, Loaded};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

const USAGE: &str = "Usage: quorate validate [-quiet] FILE_OR_DIR ...\n\n\
    Reads configuration files as the agent would, and says what is wrong with them. Unlike the agent it refuses keys that nobody knows.\n\
    The files together must be a whole configuration; what the agent gets from flags instead can be given here in the same words after --.\n\n\
    Exit codes: 0 a valid configuration, 1 not";

/// Looks at configuration files; the arguments are those after the word `validate`.
pub fn validate(args: Vec<OsString>) -> ExitCode {
    let said = judge(args);
    // Whoever reads may have seen enough.
    let _ = match &said {
        Ok(sentence) => writeln!(io::stdout(), "{sentence}"),
        Err(sentence) => writeln!(io::stderr(), "{sentence}"),
    };
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(args: Vec<OsString>) -> Result<String, String> {
    let mut words = args.into_iter();
    let (mut flags, mut quiet) = (Vec::new(), false);
    for word in words.by_ref() {
        match word.to_str() {
            Some("--") => break,
            Some("-h" | "-help" | "--help") => return Ok(USAGE.to_owned()),
            Some("-quiet" | "--quiet") => quiet = true,
            Some(option) if option.starts_with('-') => {
                return Err(format!("the option {option} is unknown\n\n{USAGE}"));
            }
            _ => flags.extend(["-config-file".into(), word]),
        }
    }
    if flags.is_empty() {
        return Err(format!("there is nothing to look at\n\n{USAGE}"));
    }
    flags.extend(words);
    match config::load(flags) {
        Ok(Loaded { warnings, unknown_keys, .. }) if unknown_keys.is_empty() => {
            let warnings = warnings.into_iter().filter(|_| !quiet).map(|warning| format!("warning: {warning}\n"));
            Ok(format!("{}Configuration is valid!", warnings.collect::<String>()))
        }
        Ok(Loaded { unknown_keys, .. }) => Err(format!("Config validation failed: {}", unknown_keys.join("\n"))),
        Err(ConfigError::Show(text, _)) => Ok(text),
        Err(error) => Err(format!("Config validation failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_judged_as_the_agent_would_and_more_strictly() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        let args = |more: &[&str]| -> Vec<OsString> {
            let more = more.iter().map(OsString::from);
            std::iter::once(directory.path().as_os_str().to_owned()).chain(more).collect()
        };
        for (json, more, expected) in [
            (r#"{"bind_addr": "127.0.0.1"}"#, &[][..], Ok("Configuration is valid!")),
            (r#"{"bind_addr": "127.0.0.1", "ui": true}"#, &[], Ok("to every agent\nConfiguration is valid!")),
            (r#"{"bind_addr": "127.0.0.1", "ui": true}"#, &["-quiet"], Ok("Configuration is valid!")),
            ("{}", &["--", "-dev"], Ok("Configuration is valid!")),
            (
                r#"{"bind_addr": "127.0.0.1", "sevice": {}}"#,
                &[],
                Err("the key sevice is unknown; did you mean service?"),
            ),
            (r#"{"encrypt": "x"}"#, &[], Err("encrypt is")),
            (r#"{"check": {"name": "a", "tcp": "x:1"}}"#, &[], Err("check[0].interval is not set")),
            ("{", &[], Err("a.json: is not JSON")),
            ("{}", &["-x"], Err("the option -x is unknown")),
        ] {
            std::fs::write(&file, json).unwrap();
            match (judge(args(more)), expected) {
                (Ok(said), Ok(end)) => assert!(said.ends_with(end), "{json}: {said}"),
                (Err(said), Err(part)) => assert!(said.contains(part), "{json}: {said}"),
                (said, _) => panic!("{json}: {said:?}"),
            }
        }
        std::fs::write(&file, r#"{"bind_addr": "127.0.0.1", "ui": true}"#).unwrap();
        assert!(
            judge(args(&[])).unwrap().contains("warning: ") && !judge(args(&["-quiet"])).unwrap().contains("warning: ")
        );
        assert!(judge(Vec::new()).unwrap_err().contains("nothing to look at"));
    }
}
