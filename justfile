# One door to the habits. `just check` looks and never writes; `just fix` writes. CI (.ci/run) says the same words.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What there is.
default:
    @just --list --unsorted

# Looks: formatting, lints, docs, purity, and dependencies where cargo-deny is installed. Writes nothing outside target/.
check:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace
    scripts/purity.sh
    if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "cargo-deny is not installed: deny.toml was not checked"; fi

# Writes: formatting, and what clippy can mend by itself.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Runs every test.
test *ARGS:
    cargo test --workspace {{ARGS}}

# Replays one seed of the simulated world, twice, and shows that both traces are the same.
sim SEED *ARGS:
    cargo run --release --quiet -p quorate-tests --bin sim -- {{SEED}} {{ARGS}}

# Runs a range of seeds, and says how many simulated seconds pass in a real one.
seeds RANGE="0..200" *ARGS:
    cargo run --release --quiet -p quorate-tests --bin sim -- --range {{RANGE}} {{ARGS}}

# Draws fresh seeds on every core for so many minutes, and reports simulated cluster-hours and the speed-up. What fails belongs into tests/seeds.txt.
explore MINUTES="10" *ARGS:
    cargo run --release --quiet -p quorate-tests --bin sim -- --explore {{MINUTES}} {{ARGS}}

# Switches on one known defect after another, and sees each of them caught.
planted *ARGS:
    cargo test --release -p quorate-tests --features planted-bugs --test store --test planted {{ARGS}} -- --nocapture
    cargo test --release -p quorate-gossip --features planted-bugs --test lifeguard {{ARGS}} -- --nocapture

# Starts three servers and a client on this machine (127.0.0.1 to 127.0.0.4) until ctrl-c.
cluster *ARGS:
    cargo build --release -p quorate-agent
    scripts/cluster.sh {{ARGS}}

# Measures beside real peers: `just bench` for the store, `just bench gossip --n 32` for gossip. See bench/README.md.
bench WHAT="store" *ARGS:
    cargo build --release -p quorate-agent
    scripts/bench.sh {{WHAT}} {{ARGS}}
