#!/usr/bin/env bash
# Shows that the crates below the double line of ARCHITECTURE.md are pure, in three steps:
#
#   1. each denies clippy's disallowed methods (clippy.toml: clocks, threads, unseeded dice, unordered iteration);
#   2. none depends on a runtime, a network or a disk crate;
#   3. the rule bites: with a clock read planted in it, each fails to build under clippy, and without it each passes.
set -euo pipefail

cd "$(dirname "$0")/.."
pure="protocol gossip raft store engine"
worldly='^(tokio|async-std|smol|quinn|quinn-proto|quinn-udp|hyper|hyper-util|axum|h2|mio|socket2|rustls|ureq|hickory-.*) '

for crate in $pure; do
    grep -q '^#!\[deny(clippy::disallowed_methods)\]$' "$crate/src/lib.rs" || {
        echo "$crate/src/lib.rs must say #![deny(clippy::disallowed_methods)]" >&2
        exit 1
    }
    found=$(cargo tree --locked -p "quorate-$crate" -e normal --prefix none | grep -E "$worldly" | sort -u || true)
    [ -z "$found" ] || {
        echo "quorate-$crate must not depend on $found (cargo tree -p quorate-$crate -i <that> shows why)" >&2
        exit 1
    }
done

# The plants grow in a copy, so that nothing here is written. It builds in the usual target directory: what the crates
# depend on is there already.
garden=$(mktemp -d -t quorate-purity.XXXXXX)
trap 'rm -rf "$garden"' EXIT
target=${CARGO_TARGET_DIR:-$PWD/target}
git ls-files -z --cached --others --exclude-standard -- '*.rs' '*.toml' Cargo.lock docs README.md |
    while IFS= read -r -d '' file; do [ -f "$file" ] && printf '%s\0' "$file"; done |
    tar --null -T - -cf - | tar -xf - -C "$garden"

look() { # crate; clippy's messages go to $garden/messages
    (cd "$garden" && CARGO_TARGET_DIR=$target cargo clippy --locked --quiet -p "quorate-$1") >"$garden/messages" 2>&1
}

for crate in $pure; do
    look "$crate" || {
        echo "quorate-$crate does not pass clippy as it is:" >&2
        cat "$garden/messages" >&2
        exit 1
    }
    root=$garden/$crate/src/lib.rs
    cp "$root" "$garden/lib.rs"
    printf '\n/// Planted.\npub fn planted() -> std::time::Instant {\n    std::time::Instant::now()\n}\n' >>"$root"
    if look "$crate"; then
        echo "A clock read planted in quorate-$crate was not noticed" >&2
        exit 1
    fi
    grep -q 'disallowed method `std::time::Instant::now`' "$garden/messages" || {
        echo "quorate-$crate with a clock read planted in it failed for another reason:" >&2
        cat "$garden/messages" >&2
        exit 1
    }
    mv "$garden/lib.rs" "$root"
    echo "pure: quorate-$crate (a planted clock read fails its build)"
done
