#!/usr/bin/env bash
# Measures Quorate: bench.sh store [kv.py arguments] | bench.sh gossip [gossip.py arguments] beside real peers, bench.sh checks [checks.py arguments].
# The scripts and their description are in ../shared/bench, or wherever QUORATE_BENCH says; results go to target/bench.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
bench=${QUORATE_BENCH:-$here/../shared/bench}
results=$here/target/bench
mkdir -p "$results"
[ "${1:-store}" = checks ] || [ -f "$bench/kv.py" ] || { echo "No bench scripts in $bench: set QUORATE_BENCH to where kv.py and gossip.py are" >&2; exit 1; }
cd "$here"

case ${1:-store} in
store)
    shift || true
    [ $# -gt 0 ] || set -- group "agent 1;agent 3"
    # kv.py starts each server in its own directory, so the program needs its whole path.
    sed "s|target/release/quorate|$here/&|" bench/agent.json >"$results/agent-file"
    KV_AGENT_JSON=$results/agent-file KV_RESULTS=$results exec python3 "$bench/kv.py" "$@"
    ;;
gossip)
    shift
    [ $# -gt 0 ] || set -- --n 32
    exec python3 "$bench/gossip.py" basic --driver ours --bin "$here/target/release/quorate" --out "$results/ours-basic.json" "$@"
    ;;
checks)
    shift
    exec python3 bench/checks.py "$@"
    ;;
*)
    echo "bench.sh store, bench.sh gossip or bench.sh checks" >&2
    exit 1
    ;;
esac
