#!/usr/bin/env bash
# Three servers and a client on 127.0.0.1 to 127.0.0.4, each with the usual ports, until ctrl-c.
#
#   scripts/cluster.sh            data and logs go to a temporary directory, which is removed at the end
#   scripts/cluster.sh DIR        … to DIR, which is kept: start again and the servers remember
#
# QUORATE names the binary (default: target/release/quorate). Linux answers on all of 127.0.0.0/8; macOS needs
# `sudo ifconfig lo0 alias 127.0.0.2` and so on first.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
quorate=${QUORATE:-$here/target/release/quorate}
[ -x "$quorate" ] || { echo "$quorate is not there: run 'cargo build --release', or set QUORATE" >&2; exit 1; }

if [ $# -gt 0 ]; then
    data=$1
    keep=yes
    mkdir -p "$data"
else
    data=$(mktemp -d -t quorate-cluster.XXXXXX)
    keep=
fi

pids=()
stop() {
    trap - EXIT INT TERM
    # The client first: it leaves while there are servers to hear it.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -INT "${pids[i]}" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [ -n "$keep" ] || rm -rf "$data"
}
trap stop EXIT
trap 'exit 0' INT TERM

start() { # name, address, flags
    local name=$1 address=$2
    shift 2
    # Agents get ctrl-c from us, in order, and not from the terminal: so each has a process group of its own.
    setsid "$quorate" agent -node "$name" -bind "$address" -client "$address" -data-dir "$data/$name" "$@" \
        >"$data/$name.log" 2>&1 &
    pids+=($!)
}

for i in 1 2 3; do
    start "server-$i" "127.0.0.$i" -server -bootstrap-expect 3 -retry-join 127.0.0.1 -retry-join 127.0.0.2
done
start client-4 127.0.0.4 -retry-join 127.0.0.1 -retry-join 127.0.0.2

for i in "${!pids[@]}"; do
    if ! kill -0 "${pids[i]}" 2>/dev/null; then
        echo "An agent stopped at once. Its log:" >&2
        cat "$data"/*.log >&2
        exit 1
    fi
done

cat <<EOT
Three servers (127.0.0.1-3) and a client (127.0.0.4) are starting; data and logs are in $data

    $quorate members
    curl http://127.0.0.4:8500/v1/status/leader
    curl -X PUT -d hello http://127.0.0.4:8500/v1/kv/greeting && curl http://127.0.0.2:8500/v1/kv/greeting?raw
    dig @127.0.0.4 -p 8600 server-1.node.consul +short
    tail -f $data/server-1.log

ctrl-c stops them.
EOT

for pid in "${pids[@]}"; do
    wait "$pid" || true
done
echo "All agents have stopped." >&2
