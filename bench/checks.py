#!/usr/bin/env python3
"""How much of a core an agent takes for its health checks.

Starts a web server (one process, asyncio, one answer per connection) and an agent in development mode with COUNT HTTP checks, waits until all
of them are passing, and reads what the agent's process used (utime + stime of /proc/PID/stat, in clock ticks) over SECONDS, when nothing
changes. As many checks without any, for the rest of the agent, are measured beside it.

    checks.py [--bin target/release/quorate] [--count 2000] [--interval 10] [--seconds 60]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

HOST = "127.0.0.71"
WEB_PORT = 8080
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def web_server(ready, served):
    """Answers every request on a connection of its own, and counts them."""

    async def answer(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
            served.value += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def serve():
        server = await asyncio.start_server(answer, HOST, WEB_PORT, backlog=4096)
        ready.set()
        await server.serve_forever()

    asyncio.run(serve())


def ticks(pid):
    """Seconds of CPU that a process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads_and_memory(pid):
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status") if ":\t" in line)
    return int(status["Threads"]), int(status["VmRSS"].split()[0]) / 1024


def get(path):
    return json.load(urllib.request.urlopen(f"http://{HOST}:8500{path}", timeout=30))


def definitions(count, interval):
    check = {"http": f"http://{HOST}:{WEB_PORT}/health", "interval": f"{interval}s"}
    return {"services": [{"id": f"web-{n}", "name": "web", "port": n + 1, "check": check} for n in range(count)]}


def measure(binary, count, interval, seconds, served):
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "checks.json")
        with open(config, "w") as file:
            json.dump(definitions(count, interval), file)
        flags = ["-dev", f"-bind={HOST}", f"-client={HOST}", f"-config-file={config}", "-log-level=warn"]
        agent = subprocess.Popen([binary, "agent", *flags], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while True:
                time.sleep(1)
                try:
                    checks = get("/v1/agent/checks").values()
                    passing = sum(check["Status"] == "passing" for check in checks)
                    if passing == count and len(checks) == count:
                        break
                except OSError:
                    pass
                if time.monotonic() > deadline:
                    sys.exit(f"only {passing} of {count} checks are passing")
            # The catalogue has them all, and the first probes are over.
            time.sleep(5)
            begun, used, answered = time.monotonic(), ticks(agent.pid), served.value
            time.sleep(seconds)
            length = time.monotonic() - begun
            cpu = (ticks(agent.pid) - used) / length
            rate = (served.value - answered) / length
            threads, memory = threads_and_memory(agent.pid)
            return {"cpu": cpu, "rate": rate, "threads": threads, "memory": memory}
        finally:
            agent.terminate()
            agent.wait()


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=os.path.join(here, "target/release/quorate"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--interval", type=int, default=10, help="seconds between two runs of one check")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    ready, served = multiprocessing.Event(), multiprocessing.Value("L", 0, lock=False)
    web = multiprocessing.Process(target=web_server, args=(ready, served), daemon=True)
    web.start()
    ready.wait(10)
    for count in (options.count, 0):
        seen = measure(options.bin, count, options.interval, options.seconds, served)
        print(
            f"{count} HTTP checks every {options.interval} s: {seen['cpu'] * 100:.1f} % of a core, "
            f"{seen['rate']:.0f} probes/s, {seen['threads']} threads, {seen['memory']:.0f} MB",
            flush=True,
        )
    web.terminate()


if __name__ == "__main__":
    main()
