//! What happens to files in a test, one operation after the other: to fail one of them on purpose, and to make what a crash after any of them
//! may leave.
//!
//! A directory is watched by its path, so that what other threads do there is seen as well. Two crashes are told apart: the *process* is
//! killed, and everything done so far is there; or the *power* goes, and of what was not flushed any sector may be missing, and of the names
//! in a directory that was not flushed the last ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Create(PathBuf),
    Write { path: PathBuf, bytes: Vec<u8>, offset: u64 },
    Cut { path: PathBuf, length: u64 },
    Sync(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDirectory(PathBuf),
}

#[derive(Debug, Default)]
struct Watched {
    ops: Vec<Op>,
    /// Fails the operation with this number, from 0, and all that follow.
    fails_from: Option<usize>,
}

static WATCHED: Mutex<BTreeMap<PathBuf, Watched>> = Mutex::new(BTreeMap::new());

fn watched() -> MutexGuard<'static, BTreeMap<PathBuf, Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches a directory until this is dropped.
pub(super) struct Recorder(PathBuf);

impl Recorder {
    pub(super) fn watch(root: &Path) -> Recorder {
        watched().insert(root.into(), Watched::default());
        Recorder(root.into())
    }

    /// What happened so far.
    pub(super) fn ops(&self) -> Vec<Op> {
        watched()[&self.0].ops.clone()
    }

    /// Fails all after so many operations.
    pub(super) fn fail_after(&self, ops: usize) {
        watched().get_mut(&self.0).unwrap().fails_from = Some(ops);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        watched().remove(&self.0);
    }
}

fn note(path: &Path, op: impl FnOnce() -> Op) -> io::Result<()> {
    let mut watched = watched();
    let Some((_, watched)) = watched.iter_mut().find(|(root, _)| path.starts_with(root)) else { return Ok(()) };
    if watched.fails_from.is_some_and(|ops| watched.ops.len() >= ops) {
        return Err(io::Error::other("the test says so"));
    }
    watched.ops.push(op());
    Ok(())
}

pub(super) fn create(path: &Path) -> io::Result<()> {
    if path.exists() { Ok(()) } else { note(path, || Op::Create(path.into())) }
}

pub(super) fn write(path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    note(path, || Op::Write { path: path.into(), bytes: bytes.into(), offset })
}

pub(super) fn cut(path: &Path, length: u64) -> io::Result<()> {
    note(path, || Op::Cut { path: path.into(), length })
}

pub(super) fn sync(path: &Path) -> io::Result<()> {
    note(path, || Op::Sync(path.into()))
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    note(from, || Op::Rename { from: from.into(), to: to.into() })
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    note(path, || Op::Remove(path.into()))
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    note(path, || Op::SyncDirectory(path.into()))
}

/// What a crash leaves of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// All of it: the process was killed.
    Kill,
    /// Nothing of it.
    Lose,
    /// What the dice say, drawn from this seed.
    Tear(u64),
}

/// Makes the files that a crash leaves after these operations on a directory that was empty before, under another root.
pub(super) fn leave(ops: &[Op], crash: Crash, from: &Path, to: &Path) {
    let mut world = World::default();
    ops.iter().for_each(|op| world.take(op));
    let mut dice = Dice(match crash {
        Crash::Tear(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        Crash::Kill | Crash::Lose => 1,
    });
    let names = world.names_after(crash, &mut dice);
    let contents: BTreeMap<_, _> = world.files.iter().map(|(id, file)| (*id, file.after(crash, &mut dice))).collect();
    for (path, id) in names {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &contents[&id]).unwrap();
    }
}

struct Dice(u64);

impl Dice {
    /// A number below the bound.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Files have numbers, and names say which.
#[derive(Debug, Default)]
struct World {
    files: BTreeMap<usize, FileContent>,
    names: BTreeMap<PathBuf, usize>,
    /// By directory: its names when it was flushed last, then each change since.
    flushed: BTreeMap<PathBuf, BTreeMap<PathBuf, usize>>,
    changes: BTreeMap<PathBuf, Vec<BTreeMap<PathBuf, usize>>>,
}

impl World {
    fn take(&mut self, op: &Op) {
        match op {
            Op::Create(path) => {
                let id = self.files.len();
                self.files.insert(id, FileContent::default());
                self.names.insert(path.clone(), id);
                self.changed(path);
            }
            Op::Write { path, bytes, offset } => {
                self.file(path).pending.push(Change::Write(*offset as usize, bytes.clone()))
            }
            Op::Cut { path, length } => self.file(path).pending.push(Change::Cut(*length as usize)),
            Op::Sync(path) => self.file(path).sync(),
            Op::Rename { from, to } => {
                // A directory takes what is in it along.
                let moved: Vec<_> = self.names.keys().filter(|name| name.starts_with(from)).cloned().collect();
                for name in moved {
                    let id = self.names.remove(&name).unwrap();
                    let rest = name.strip_prefix(from).unwrap();
                    let name = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    self.names.insert(name, id);
                }
                self.changed(from);
            }
            Op::Remove(path) => {
                self.names.remove(path);
                self.changed(path);
            }
            Op::SyncDirectory(directory) => {
                self.changes.remove(directory);
                self.flushed.insert(directory.clone(), self.names_in(directory));
            }
        }
    }

    fn file(&mut self, path: &Path) -> &mut FileContent {
        let id = self.names[path];
        self.files.get_mut(&id).unwrap()
    }

    fn names_in(&self, directory: &Path) -> BTreeMap<PathBuf, usize> {
        self.names
            .iter()
            .filter(|(name, _)| name.parent() == Some(directory))
            .map(|(name, id)| (name.clone(), *id))
            .collect()
    }

    fn changed(&mut self, path: &Path) {
        let directory = path.parent().unwrap().to_path_buf();
        let names = self.names_in(&directory);
        self.changes.entry(directory).or_default().push(names);
    }

    fn names_after(&self, crash: Crash, dice: &mut Dice) -> BTreeMap<PathBuf, usize> {
        if crash == Crash::Kill {
            return self.names.clone();
        }
        let directories: BTreeSet<_> = self.flushed.keys().chain(self.changes.keys()).collect();
        let mut names = BTreeMap::new();
        for directory in directories {
            let changes = self.changes.get(directory).map(Vec::as_slice).unwrap_or_default();
            let kept = if crash == Crash::Lose { 0 } else { dice.below(changes.len() + 1) };
            let flushed = self.flushed.get(directory);
            names.extend(kept.checked_sub(1).map(|at| &changes[at]).or(flushed).cloned().unwrap_or_default());
        }
        names
    }
}

#[derive(Debug, Default)]
struct FileContent {
    flushed: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl FileContent {
    fn sync(&mut self) {
        self.flushed = self.after(Crash::Kill, &mut Dice(1));
        self.pending.clear();
    }

    fn after(&self, crash: Crash, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.flushed.clone();
        let mut survives = || match crash {
            Crash::Kill => true,
            Crash::Lose => false,
            Crash::Tear(_) => dice.below(2) == 0,
        };
        for change in &self.pending {
            match change {
                Change::Cut(length) if survives() => content.resize(*length, 0),
                Change::Cut(_) => {}
                Change::Write(offset, bytes) => {
                    for (at, piece) in (*offset..).step_by(SECTOR).zip(bytes.chunks(SECTOR)).filter(|_| survives()) {
                        content.resize(content.len().max(at + piece.len()), 0);
                        content[at..at + piece.len()].copy_from_slice(piece);
                    }
                }
            }
        }
        content
    }
}
