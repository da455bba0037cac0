//! From words to a command, and from its end to an exit code.

use crate::dashes::normalise_leading_dashes;
use crate::failure::Failure;
use crate::{
    catalog, event, force_leave, info, join, keygen, keyring, kv, leave, lock, maint, members, monitor, operator,
    query, reachability, reload, rtt, session, snapshot, tags, version,
};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};

/// The exit code for a word that is no command, as in Consul and the shells.
const UNKNOWN_COMMAND: i32 = 127;

/// What a command may look at and write to.
pub struct Surroundings<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Whether standard error is a terminal, where people watch how far something is.
    pub err_is_terminal: bool,
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Runs the command that the arguments name, those after the program's own name, with the process's streams and
/// environment. Returns the exit code: 0 done, 1 not done, 2 nothing found (`members`) or a child that
/// failed (`lock -child-exit-code`), 127 no such command.
pub fn main(args: Vec<OsString>) -> i32 {
    let mut out = io::stdout().lock();
    let mut err = io::stderr().lock();
    let mut input = io::stdin();
    let env = |name: &str| std::env::var(name).ok();
    let err_is_terminal = err.is_terminal();
    run(args, &mut Surroundings { input: &mut input, out: &mut out, err: &mut err, err_is_terminal, env: &env })
}

/// The same as [`main`] with streams and environment of the caller's choice.
pub fn run(args: Vec<OsString>, surroundings: &mut Surroundings<'_>) -> i32 {
    match dispatch(args, surroundings).and_then(|code| surroundings.out.flush().map(|()| code).map_err(Failure::from)) {
        Ok(code) => code,
        Err(Failure::NobodyReads) => 0,
        Err(Failure::Silent(code)) => code,
        Err(Failure::Sentence(sentence)) => {
            // Where standard error is gone too, the code is all that can be said.
            let _ = writeln!(surroundings.err, "{sentence}");
            1
        }
    }
}

/// Those of the agent's crate.
const OF_THE_AGENT: [(&str, &str); 2] = [
    ("agent", "Runs an agent"),
    ("validate", "Says whether configuration files are ones that an agent can start with"),
];

/// The text that `quorate` shows without arguments: every command, `agent` among them.
pub fn command_list() -> String {
    let mut text = String::from("Usage: quorate <command> [<arguments>]\n\nCommands:\n");
    for (name, about) in all() {
        text.push_str(&format!("    {name:12} {about}\n"));
    }
    text.push_str("\n`quorate <command> -help` explains one. To begin: `quorate agent -dev`.\n");
    text
}

type Run = fn(&ArgMatches, &mut Surroundings<'_>) -> Result<(), Failure>;

/// The commands of this crate, by name.
const COMMANDS: [(fn() -> Command, Run); 22] = [
    (catalog::command, catalog::run),
    (event::command, event::run),
    (force_leave::command, force_leave::run),
    (info::command, info::run),
    (join::command, join::run),
    (keygen::command, keygen::run),
    (keyring::command, keyring::run),
    (kv::command, kv::run),
    (leave::command, leave::run),
    (lock::command, lock::run),
    (maint::command, maint::run),
    (members::command, members::run),
    (monitor::command, monitor::run),
    (operator::command, operator::run),
    (query::command, query::run),
    (reachability::command, reachability::run),
    (reload::command, reload::run),
    (rtt::command, rtt::run),
    (session::command, session::run),
    (snapshot::command, snapshot::run),
    (tags::command, tags::run),
    (version::command, version::run),
];

fn all() -> Vec<(String, String)> {
    let mut all: Vec<_> = OF_THE_AGENT.map(|(name, about)| (name.to_owned(), about.to_owned())).into_iter().collect();
    for (command, _) in COMMANDS {
        let command = command();
        all.push((command.get_name().to_owned(), command.get_about().map(ToString::to_string).unwrap_or_default()));
    }
    all
}

fn dispatch(args: Vec<OsString>, surroundings: &mut Surroundings<'_>) -> Result<i32, Failure> {
    let mut words = Vec::new();
    for arg in args {
        let refused = |arg: OsString| Failure::new(format!("The argument {arg:?} is not UTF-8: write it as UTF-8."));
        words.push(arg.into_string().map_err(refused)?);
    }
    let (first, mut rest) = match words.split_first() {
        None => {
            write!(surroundings.out, "{}", command_list())?;
            return Ok(UNKNOWN_COMMAND);
        }
        Some((first, rest)) => (first.as_str(), rest.to_vec()),
    };
    let name = match (first, rest.as_slice()) {
        ("help" | "--help" | "-help" | "-h", []) => {
            write!(surroundings.out, "{}", command_list())?;
            return Ok(0);
        }
        ("help", [command, deeper @ ..]) => {
            let command = command.clone();
            rest = [deeper, &["--help".to_owned()]].concat();
            command
        }
        ("--version" | "-version" | "-v", _) => "version".to_owned(),
        _ => first.to_owned(),
    };
    let found = COMMANDS.into_iter().map(|(command, run)| (command(), run)).find(|(c, _)| c.get_name() == name);
    let Some((command, run)) = found else {
        write!(surroundings.err, "{}", unknown(&name)).map_err(Failure::from)?;
        return Ok(UNKNOWN_COMMAND);
    };
    let shown = format!("quorate {name}");
    let rest = with_two_dashes(&command, rest);
    let command = command.bin_name(&shown).disable_version_flag(true);
    let matches = match command.try_get_matches_from([shown].into_iter().chain(rest)) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp) => {
            write!(surroundings.out, "{}", error.render())?;
            return Ok(0);
        }
        Err(error) => return Err(Failure::new(error.render().to_string().trim_end())),
    };
    run(&matches, surroundings).map(|()| 0)
}

fn with_two_dashes(command: &Command, words: Vec<String>) -> Vec<String> {
    if command.get_arguments().any(Arg::is_trailing_var_arg_set) {
        let named = |arg: &Arg, name: &str| {
            arg.get_long() == Some(name) || arg.get_short().map(String::from).as_deref() == Some(name)
        };
        let has_value =
            |name: &str| command.get_arguments().any(|arg| named(arg, name) && !arg.is_require_equals_set());
        return normalise_leading_dashes(words, has_value);
    }
    let words = crate::normalise_dashes(words.into_iter().map(OsString::from));
    words.into_iter().filter_map(|word| word.into_string().ok()).collect()
}

fn unknown(name: &str) -> String {
    if OF_THE_AGENT.iter().any(|(known, _)| *known == name) {
        return format!("`{name}` is explained by `quorate {name} -help`.\n");
    }
    let names: Vec<String> = all().into_iter().map(|(known, _)| known).collect();
    let near = names
        .iter()
        .find(|known| known.starts_with(name))
        .or_else(|| names.iter().filter(|known| distance(known, name) <= 2).min_by_key(|known| distance(known, name)));
    let hint = near.map_or_else(String::new, |known| format!(" Did you mean '{known}'?"));
    format!("Unknown command '{name}'.{hint} `quorate help` lists the commands.\n")
}

/// Levenshtein's distance: how many letters to add, drop or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((j, y), above) in b.chars().enumerate().zip(row.windows(2)) {
            let [diagonal, up] = above else { continue };
            let left = next.get(j).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(x != y)).min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// An option that is on or off. Go's `-name=false` works too.
pub(crate) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .value_parser(clap::value_parser!(bool))
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
}

/// An option with a value.
pub(crate) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// Whether a [`flag`] is on.
pub(crate) fn is_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one::<bool>(name).copied().unwrap_or(false)
}

/// The value of an [`option`] or positional argument.
pub(crate) fn value<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// All values of one that may be repeated.
pub(crate) fn values<'m>(matches: &'m ArgMatches, name: &str) -> Vec<&'m str> {
    matches.get_many::<String>(name).into_iter().flatten().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_command_once() {
        let list = command_list();
        for name in [
            "agent",
            "catalog",
            "event",
            "force-leave",
            "info",
            "join",
            "keygen",
            "keyring",
            "kv",
            "leave",
            "lock",
            "maint",
            "members",
            "monitor",
            "operator",
            "query",
            "reachability",
            "reload",
            "rtt",
            "session",
            "snapshot",
            "tags",
            "validate",
            "version",
        ] {
            assert_eq!(list.matches(&format!("\n    {name} ")).count(), 1, "{name}");
        }
    }

    #[test]
    fn clap_accepts_every_command() {
        for (command, _) in COMMANDS {
            command().debug_assert();
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("kv", "kv", 0), ("members", "membrs", 1), ("", "abc", 3), ("info", "join", 4)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
