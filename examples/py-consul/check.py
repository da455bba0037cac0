#!/usr/bin/env python3
"""Drives an agent with py-consul over agent, catalogue, health, keys, sessions, locks, transactions, operators and snapshots, and prints OK.

    python3 check.py [HOST [PORT]]

The agent may be a server or a client, in a cluster of any size; what this writes, it removes.
"""
import base64
import hashlib
import io
import json
import sys
import tarfile
import threading
import time
import uuid

import consul

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8500
run = uuid.uuid4().hex[:8]  # two runs at once do not meet
c = consul.Consul(host=host, port=port)


def eventually(what, ask, patience=15.0):
    """Asks until the answer is true: a registration reaches the catalogue a moment after it is accepted."""
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what}: still not so after {patience:.0f} s"
        time.sleep(0.05)


def after(seconds, act):
    """Acts a little later, on a thread, as somebody else would."""
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def agent():
    me = c.agent.self()
    name, dc = me["Config"]["NodeName"], me["Config"]["Datacenter"]
    members = {member["Name"]: member for member in c.agent.members()}
    assert members[name]["Status"] == 1, "this agent sees itself alive"
    assert eventually("a leader is known", c.status.leader)
    assert c.status.peers()
    return name, dc


def catalogue(name, dc):
    assert dc in c.catalog.datacenters()
    eventually("this node is in the catalogue", lambda: name in [node["Node"] for node in c.catalog.nodes()[1]])
    index, node = c.catalog.node(name)
    assert int(index) > 0 and node["Node"]["Node"] == name
    _, checks = c.health.node(name)
    assert {check["CheckID"]: check["Status"] for check in checks}["serfHealth"] == "passing"


def health(name):
    service, instance = f"web-{run}", f"web-{run}-1"
    assert c.agent.service.register(
        service, service_id=instance, port=8080, tags=["v1"], meta={"by": "py-consul"}, check=consul.Check.ttl("30s")
    )
    assert instance in c.agent.services() and f"service:{instance}" in c.agent.checks()
    eventually("the service is in the catalogue", lambda: service in c.catalog.services()[1])
    _, rows = c.catalog.service(service)
    assert rows[0]["Node"] == name and rows[0]["ServicePort"] == 8080 and rows[0]["ServiceTags"] == ["v1"]

    # Until somebody reports, a TTL check is critical: the instance exists and is not to be used.
    index, instances = c.health.service(service, passing=True)
    assert instances == []
    timer = after(0.3, lambda: c.agent.check.ttl_pass(f"service:{instance}", notes="all is well"))
    index, instances = changed(service, index, lambda found: len(found) == 1)
    timer.join()
    assert instances[0]["Service"]["ID"] == instance and instances[0]["Service"]["Meta"] == {"by": "py-consul"}

    # It fails, and the blocking query says so.
    timer = after(0.3, lambda: c.agent.check.ttl_fail(f"service:{instance}", notes="it burns"))
    changed(service, index, lambda found: found == [])
    timer.join()
    _, checks = c.health.checks(service)
    assert [(check["Status"], check["Output"]) for check in checks] == [("critical", "it burns")]

    assert c.agent.service.deregister(instance)
    eventually("the service is gone", lambda: service not in c.catalog.services()[1])


def changed(service, index, expected):
    """Waits with blocking queries until the instances that pass are as expected: a return is no promise of that, only
    of a change nearby."""
    end = time.monotonic() + 15
    while True:
        started = time.monotonic()
        index, found = c.health.service(service, passing=True, index=index, wait="10s")
        if expected(found):
            assert time.monotonic() - started < 9, "the query slept through the change"
            return index, found
        assert time.monotonic() < end, f"{service}: {found}"


def keys():
    key = f"py-consul/{run}/greeting"
    index, entry = c.kv.get(key)
    assert entry is None and int(index) > 0, "a key that is not there has an index all the same"
    assert c.kv.put(key, "hello", flags=7)
    index, entry = c.kv.get(key)
    assert entry["Value"] == b"hello" and entry["Flags"] == 7 and entry["CreateIndex"] == entry["ModifyIndex"]

    # A blocking query returns on the change, and not before.
    timer = after(0.5, lambda: c.kv.put(key, "hello again"))
    started = time.monotonic()
    later, entry = c.kv.get(key, index=index, wait="10s")
    took = time.monotonic() - started
    timer.join()
    assert entry["Value"] == b"hello again" and int(later) > int(index), entry
    assert 0.3 < took < 9, f"returned after {took:.2f} s"

    # … or with what it knew when the time is up.
    started = time.monotonic()
    same, entry = c.kv.get(key, index=later, wait="300ms")
    assert entry["Value"] == b"hello again" and same == later and time.monotonic() - started >= 0.3

    # Compare and set.
    assert c.kv.put(key, "no", cas=int(index)) is False
    assert c.kv.put(key, "yes", cas=entry["ModifyIndex"]) is True
    assert c.kv.put(f"{key}/new", "", cas=0) is True and c.kv.put(f"{key}/new", "", cas=0) is False
    assert c.kv.get(f"{key}/new")[1]["Value"] is None, "an empty value is null"
    assert c.kv.get(key, consistency="consistent")[1]["Value"] == b"yes"

    # Many at once.
    _, entries = c.kv.get(f"py-consul/{run}/", recurse=True)
    assert [entry["Key"] for entry in entries] == [key, f"{key}/new"]
    _, names = c.kv.get(f"py-consul/{run}/", keys=True, separator="/")
    assert names == [key, f"{key}/"]
    assert c.kv.delete(f"py-consul/{run}/", recurse=True)
    assert c.kv.get(key)[1] is None


def sessions(name):
    session = c.session.create(name=f"py-consul-{run}", ttl=10, lock_delay=1, behavior="delete")
    index, found = c.session.info(session)
    assert int(index) > 0 and found["Node"] == name and found["TTL"] == "10s" and found["Behavior"] == "delete"
    assert found["LockDelay"] == 1_000_000_000 and found["NodeChecks"] == ["serfHealth"]
    assert c.session.renew(session)["ID"] == session
    assert session in [found["ID"] for found in c.session.list()[1]]
    assert session in [found["ID"] for found in c.session.node(name)[1]]
    assert c.session.destroy(session) and c.session.info(session)[1] is None
    assert c.session.destroy(session), "destroying none succeeds"
    nobody = str(uuid.UUID(int=0))
    refused(consul.NotFound, f"Session id '{nobody}' not found", c.session.renew, nobody)
    for wrong, sentence in [
        ({"ttl": "5s"}, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"),
        ({"behavior": "foo"}, "Invalid Behavior setting 'foo'"),
        ({"node": f"nobody-{run}"}, "Missing node registration"),
        ({"nodechecks": [f"nothing-{run}"]}, f"Missing check 'nothing-{run}' registration"),
    ]:
        refused(consul.ConsulException, sentence, create, wrong)


def create(body):
    """A session that py-consul itself would not ask for."""
    checked = consul.callback.CB.json(is_id=True)
    return c.http.put(checked, "/v1/session/create", headers={}, data=json.dumps(body))


def refused(kind, sentence, act, *arguments):
    try:
        act(*arguments)
    except kind as error:
        assert sentence in str(error), f"{error}"
    else:
        raise AssertionError(f"{act} of {arguments} was not refused")


def locks():
    key = f"py-consul/{run}/lock"
    ours, theirs = c.session.create(lock_delay=0, ttl=10), c.session.create(lock_delay=0, ttl=10)
    assert c.kv.put(key, "ours", acquire=ours) is True
    index, entry = c.kv.get(key)
    assert entry["Session"] == ours and entry["LockIndex"] == 1 and entry["Value"] == b"ours"
    assert c.kv.put(key, "theirs", acquire=theirs) is False and c.kv.put(key, "theirs", release=theirs) is False
    assert c.kv.put(key, "ours still", acquire=ours) is True, "the holder may say so again"
    assert c.kv.get(key)[1]["LockIndex"] == 1, "and holds it no second time"

    # Who waits for the key is told when it is free.
    index, _ = c.kv.get(key)
    timer = after(0.3, lambda: c.kv.put(key, "free", release=ours))
    _, entry = c.kv.get(key, index=index, wait="10s")
    timer.join()
    assert "Session" not in entry and entry["Value"] == b"free"
    assert c.kv.put(key, "theirs", acquire=theirs) is True and c.kv.get(key)[1]["LockIndex"] == 2

    # The end of a session is the end of its hold.
    index, _ = c.kv.get(key)
    timer = after(0.3, lambda: c.session.destroy(theirs))
    _, entry = c.kv.get(key, index=index, wait="10s")
    timer.join()
    assert "Session" not in entry and entry["Value"] == b"theirs"
    refused(consul.ConsulException, f'invalid session "{theirs}"', lambda: c.kv.put(key, "", acquire=theirs))
    refused(consul.ConsulException, "UUID must be 36 characters", lambda: c.kv.put(key, "", acquire="bogus"))

    # … and with the other behaviour, of the key itself.
    brief = c.session.create(lock_delay=0, behavior="delete")
    assert c.kv.put(f"{key}/brief", "", acquire=brief) is True
    assert c.session.destroy(brief) and c.kv.get(f"{key}/brief")[1] is None
    assert c.session.destroy(ours) and c.kv.delete(key, recurse=True)


def transactions():
    def kv(verb, key, value=None, **more):
        value = value if value is None else base64.b64encode(value.encode()).decode()
        return {"KV": {"Verb": verb, "Key": f"py-consul/{run}/txn/{key}", "Value": value, **more}}

    done = c.txn.put([kv("check-not-exists", "a"), kv("set", "a", "1", Flags=2**64 - 1), kv("cas", "b", "2", Index=0)])
    assert done["Errors"] is None and [row["KV"]["Value"] for row in done["Results"]] == [None, None]
    assert done["Results"][0]["KV"]["Flags"] == 2**64 - 1
    seen = c.txn.put([kv("get", "a"), kv("get-tree", "")])["Results"]
    assert [base64.b64decode(row["KV"]["Value"]) for row in seen] == [b"1", b"1", b"2"]

    # One that fails, and nothing is changed.
    key = f"py-consul/{run}/txn/b"
    why = f'failed to set key \\"{key}\\", index is stale'
    refused(consul.ConsulException, why, c.txn.put, [kv("set", "a", "no"), kv("cas", "b", "no", Index=1)])
    assert c.kv.get(f"py-consul/{run}/txn/a")[1]["Value"] == b"1"
    refused(consul.ConsulException, "Transaction contains too many operations", c.txn.put, [kv("set", "a", "")] * 1000)
    assert c.txn.put([kv("delete-tree", "")])["Results"] == []
    assert c.kv.get(key)[1] is None


def operators(name):
    servers = c.operator.raft_config()["Servers"]
    leaders = [server for server in servers if server["Leader"]]
    assert len(leaders) == 1 and leaders[0]["Voter"] and leaders[0]["Address"] == c.status.leader()
    settings = c.operator.autopilot_configuration()
    assert settings["LastContactThreshold"].endswith("s") and settings["CleanupDeadServers"] in (True, False)
    refused(consul.ConsulException, "was not found in the Raft configuration", c.operator.raft_remove_peer, "127.0.0.9:1")


def snapshots():
    archive = tarfile.open(fileobj=io.BytesIO(c.snapshot.save()))
    files = {file.name: archive.extractfile(file).read() for file in archive}
    assert list(files) == ["meta.json", "state.bin", "SHA256SUMS"] and json.loads(files["meta.json"])["Index"] > 0
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, of = line.split()
        assert hashlib.sha256(files[of]).hexdigest() == digest


name, dc = agent()
catalogue(name, dc)
health(name)
keys()
sessions(name)
locks()
transactions()
operators(name)
snapshots()
print("OK")
