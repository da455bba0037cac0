//! The binary `quorate`: `quorate agent` runs an agent, everything else talks to one.

use quorate_agent::run;
use std::ffi::OsString;
use std::process::ExitCode;

// Half the time of a large answer went into glibc's allocator (docs/performance.md, "Memory").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|word| word == "agent") {
        args.remove(0);
        return run::agent(args);
    }
    ExitCode::from(u8::try_from(quorate_cli::main(args)).unwrap_or(1))
}
