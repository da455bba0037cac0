//! `kv put`: set a value.

use super::{given, is_true, key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command, value_parser};

pub(super) fn command() -> Command {
    client::with_options(
        Command::new("put")
            .about("Sets the value of a key")
            .allow_negative_numbers(true)
            .after_help("Data that begins with a dash follows two: `quorate kv put KEY -- -data`.")
            .args([
                key_arg("KEY"),
                Arg::new("data").value_name("DATA").help("The value; - reads standard input, @FILE a file"),
                flag("base64", "DATA is base64: store what it stands for"),
                flag("cas", "Only if the key has the index of -modify-index"),
                option("modify-index", "INDEX", "With -cas: the index; 0 only creates")
                    .value_parser(value_parser!(u64))
                    .default_value("0"),
                option("flags", "NUMBER", "A number to keep with the value")
                    .value_parser(value_parser!(u64))
                    .default_value("0"),
                flag("acquire", "Take the lock of the key for -session, and set the value"),
                flag("release", "Let go of the lock of the key that -session holds, and set the value"),
                option("session", "ID", "With -acquire and -release: the session that holds"),
                option("ttl", "DURATION", "How long the key lives unless it is set again, such as 90s"),
            ]),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let key = key(matches);
    if key.is_empty() {
        return Err(missing_key());
    }
    let way = Way::chosen(matches)?;
    let data = data(matches, surroundings)?;
    let client = Client::new(matches, surroundings)?;
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default().to_string();
    let (flags, index) = (number("flags"), number("modify-index"));
    let mut query = vec![("flags", flags.as_str())];
    query.extend(value(matches, "ttl").map(|ttl| ("ttl", ttl)));
    match way {
        Way::Plain => {}
        Way::Cas => query.push(("cas", index.as_str())),
        Way::Acquire(session) => query.push(("acquire", session)),
        Way::Release(session) => query.push(("release", session)),
    }
    let doing = format!("writing the key '{key}'");
    let answer = client.put(&doing, &path(key), &query, &data)?;
    let token = answer.fencing_token();
    if !is_true(&client.ok(&doing, answer)?) {
        return Err(Failure::new(match way {
            Way::Plain | Way::Cas => format!(
                "Error! Did not write to {key}: CAS failed. Its index is not {index}: see `quorate kv get -detailed {key}`."
            ),
            Way::Acquire(_) => format!(
                "Error! Did not acquire lock: {key} is held by another session, or was until a moment ago (lock delay): see \
                 `quorate kv get -detailed {key}`."
            ),
            Way::Release(session) => format!("Error! Did not release lock: session {session} does not hold {key}."),
        }));
    }
    match way {
        Way::Plain | Way::Cas => writeln!(surroundings.out, "Success! Data written to: {key}")?,
        Way::Acquire(_) => writeln!(surroundings.out, "Success! Lock acquired on: {key}")?,
        Way::Release(_) => writeln!(surroundings.out, "Success! Lock released on: {key}")?,
    }
    match (way, token) {
        (Way::Acquire(_), Some(token)) => Ok(writeln!(surroundings.out, "Fencing token: {token}")?),
        _ => Ok(()),
    }
}

/// What a write depends on: one thing at most, as an agent has it.
#[derive(Clone, Copy)]
enum Way<'a> {
    Plain,
    Cas,
    Acquire(&'a str),
    Release(&'a str),
}

impl Way<'_> {
    fn chosen(matches: &ArgMatches) -> Result<Way<'_>, Failure> {
        let on = |name| is_on(matches, name);
        let session = value(matches, "session").filter(|session| !session.is_empty());
        match (on("cas"), on("acquire"), on("release"), session) {
            (false, false, false, None) => Ok(Way::Plain),
            (true, false, false, None) => Ok(Way::Cas),
            (false, true, false, Some(session)) => Ok(Way::Acquire(session)),
            (false, false, true, Some(session)) => Ok(Way::Release(session)),
            (false, false, false, Some(_)) => {
                Err(Failure::new("Error! Cannot specify -session without one of -acquire and -release!"))
            }
            (false, true, false, None) | (false, false, true, None) => Err(Failure::new(
                "Error! Missing -session (required with -acquire and -release): `quorate session create` makes one.",
            )),
            _ => Err(Failure::new("Error! Cannot specify more than one of -cas, -acquire and -release!")),
        }
    }
}

fn data(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<Vec<u8>, Failure> {
    let bytes = given(value(matches, "data").unwrap_or_default(), surroundings)?;
    if !is_on(matches, "base64") {
        return Ok(bytes);
    }
    STANDARD.decode(bytes.trim_ascii()).map_err(|error| {
        Failure::new(format!("Error! The data is not base64: {error}. Leave out -base64 to store it as it is."))
    })
}
