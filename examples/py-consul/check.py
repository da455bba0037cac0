#!/usr/bin/env python3
"""Drives an agent with py-consul over agent, catalogue, health and keys, and prints OK.

    python3 check.py [HOST [PORT]]

The agent may be a server or a client, in a cluster of any size; what this writes, it removes.
"""
import sys
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


name, dc = agent()
catalogue(name, dc)
health(name)
keys()
print("OK")
