//! `snapshot`: all that the servers know at one moment, as a file.

mod archive;
mod progress;
mod unverified;

use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use crate::table;
use archive::Archive;
use clap::{Arg, ArgMatches, Command};
use progress::{Counted, Progress};
use std::fs::File;
use std::io;
use std::path::Path;
use unverified::Unverified;

const PATH: &str = "/v1/snapshot";

pub(crate) fn command() -> Command {
    let save = Command::new("save")
        .about("Saves a snapshot to a file")
        .after_help(
            "Keys, sessions, locks and the catalogue at one index. The file gets its name when every checksum in it has been\n\
             verified, so a file of that name is always whole. Only its owner can read it: keys may hold secrets.",
        )
        .arg(file("Where to save it; an older one is replaced"));
    let restore = Command::new("restore")
        .about("Replaces all that the servers know with a snapshot")
        .after_help(
            "Whatever was written since the snapshot is gone, everywhere at the same moment; indexes go on from where they are\n\
             and never back. The file's checksums are verified here before it is sent, and by the servers before it is applied.",
        )
        .arg(file("The snapshot"));
    let inspect = Command::new("inspect")
        .about("Verifies a snapshot and shows what it is, without an agent")
        .arg(file("The snapshot"));
    Command::new("snapshot").about("Saves, restores and inspects snapshots").subcommand_required(true).subcommands([
        client::with_options(save),
        client::with_options(restore),
        inspect,
    ])
}

fn file(help: &'static str) -> Arg {
    Arg::new("file").value_name("FILE").help(help).required(true)
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("save", matches)) => save(matches, surroundings),
        Some(("restore", matches)) => restore(matches, surroundings),
        Some(("inspect", matches)) => inspect(matches, surroundings),
        _ => Err(Failure::new("`quorate snapshot` needs save, restore or inspect.")),
    }
}

fn save(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let name = Path::new(crate::command::value(matches, "file").unwrap_or_default());
    let client = Client::new(matches, surroundings)?;
    let unverified = Unverified::create(name)?;
    let mut stream = client.get_stream("saving a snapshot", PATH, &[])?;
    let progress = Progress::new("Saving", stream.unpacked, Counted::Unpacked, surroundings);
    let copied = io::copy(&mut progress.over(&mut stream.body), &mut &unverified.file);
    copied.map_err(|error| {
        Failure::new(format!("Error saving a snapshot to {}: {error}. Nothing was kept; save again.", name.display()))
    })?;
    let archive = unverified.keep(name)?;
    let index = archive.meta.index;
    Ok(writeln!(surroundings.out, "Saved and verified snapshot to index {index}")?)
}

fn restore(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let name = Path::new(crate::command::value(matches, "file").unwrap_or_default());
    let client = Client::new(matches, surroundings)?;
    read(name)?;
    let unreadable = |error| unreadable(name, &error);
    let mut file = File::open(name).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let doing = format!("restoring the snapshot {}", name.display());
    let progress = Progress::new("Restoring", Some(length), Counted::AsRead, surroundings);
    let answer = client.put_stream(&doing, PATH, &mut progress.over(&mut file), length)?;
    client.ok(&doing, answer)?;
    Ok(writeln!(surroundings.out, "Restored snapshot")?)
}

fn inspect(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let name = Path::new(crate::command::value(matches, "file").unwrap_or_default());
    let Archive { meta, members, chunks } = read(name)?;
    let chunks = chunks.map_or_else(|| "unknown (not a state of Quorate's)".to_owned(), |chunks| chunks.to_string());
    let facts = [
        ["ID", meta.id.as_str()],
        ["Index", &meta.index.to_string()],
        ["Term", &meta.term.to_string()],
        ["Version", &meta.version.to_string()],
        ["Datacenter", told(&meta.datacenter)],
        ["Created", told(&meta.created)],
        ["State chunks", &chunks],
    ];
    table::write(surroundings.out, &facts.map(|fact| fact.map(str::to_owned)))?;
    writeln!(surroundings.out)?;
    let header = ["Member", "Bytes"].map(str::to_owned);
    let total: u64 = members.iter().map(|member| member.bytes).sum();
    let rows = members.into_iter().map(|member| [member.name, member.bytes.to_string()]);
    let total = ["Total".to_owned(), total.to_string()];
    table::write(surroundings.out, &[header].into_iter().chain(rows).chain([total]).collect::<Vec<_>>())?;
    Ok(())
}

fn told(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Reads a whole snapshot and verifies it.
fn read(name: &Path) -> Result<Archive, Failure> {
    if name.is_dir() {
        return Err(unreadable(name, &io::ErrorKind::IsADirectory.into()));
    }
    let file = File::open(name).map_err(|error| unreadable(name, &error))?;
    Archive::verify(io::BufReader::new(file)).map_err(|why| {
        Failure::new(format!(
            "{} is not a whole snapshot: {why}. Use another one; this one cannot be trusted.",
            name.display()
        ))
    })
}

fn unreadable(name: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("Error reading the snapshot {}: {error}. Name a readable file.", name.display()))
}
