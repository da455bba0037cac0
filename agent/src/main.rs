//! The binary `quorate`: `quorate agent` runs an agent, `validate` looks at its files, everything else talks to one.

use quorate_agent::{run, validate};
use std::ffi::OsString;
use std::process::ExitCode;

// Half the time of a large answer went into glibc's allocator (docs/performance.md, "Memory").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((word, rest)) if word == "agent" => run::agent(rest.to_vec()),
        Some((word, rest)) if word == "validate" => validate::validate(rest.to_vec()),
        _ => ExitCode::from(u8::try_from(quorate_cli::main(args)).unwrap_or(1)),
    }
}
