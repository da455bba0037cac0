//! `/v1/kv/`, against what Consul 1.8.7 and 1.9.1 answer.

use crate::fake::*;
use http::Request;
use quorate_http_api::Config;
use quorate_protocol::{
    Answer, Consistency, Entry, KvRead, KvWrite, LogIndex, Outcome, Page, Pair, Read, ReadRequest, Refusal, Reply,
    Wait, Write,
};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn entry(key: &str, value: &str, index: u64) -> std::sync::Arc<quorate_protocol::Row<Entry>> {
    row(Entry { key: key.to_owned(), value: bytes(value), ..Entry::default() }, index, index)
}

fn get_key(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.to_owned() })
}

fn list(prefix: &str) -> Read {
    Read::Kv(KvRead::List { prefix: prefix.to_owned(), page: Page::default() })
}

fn keys_of(prefix: &str, separator: &str) -> Read {
    Read::Kv(KvRead::Keys { prefix: prefix.to_owned(), separator: separator.to_owned(), page: Page::default() })
}

#[tokio::test]
async fn a_key_as_consul_shows_it() {
    let seen = get("/v1/kv/e/a", Answer::Entries(vec![entry("e/a", "v1", 385)])).await;
    seen.answered(200, r#"[{"LockIndex":0,"Key":"e/a","Flags":0,"Value":"djE=","CreateIndex":385,"ModifyIndex":385}]"#);
    assert_eq!(seen.read(), &now(get_key("e/a")));
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-consul-index", "385"),
        ("x-consul-knownleader", "true"),
        ("x-consul-lastcontact", "0"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("x-consul-effective-consistency"), None);
}

#[tokio::test]
async fn an_empty_value_is_null_and_flags_are_whole() {
    let stored = Entry { key: "e".to_owned(), flags: 3_304_740_253_564_472_344, ..Entry::default() };
    let seen = get("/v1/kv/e", Answer::Entries(vec![row(stored, 1, 2)])).await;
    seen.answered(
        200,
        r#"[{"LockIndex":0,"Key":"e","Flags":3304740253564472344,"Value":null,"CreateIndex":1,"ModifyIndex":2}]"#,
    );
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let page = |after: Option<&str>, limit| Page { after: after.map(str::to_owned), limit };
    let three = || vec![entry("p/a", "1", 7), entry("p/b c", "2", 8), entry("p/c", "3", 9)];
    // One more than asked for is asked for, which tells whether there is more.
    let seen = get("/v1/kv/p/?recurse&limit=2", Answer::Entries(three())).await;
    let list = KvRead::List { prefix: "p/".to_owned(), page: page(None, Some(3)) };
    assert_eq!(seen.read(), &now(Read::Kv(list)));
    assert!(seen.body.contains("p/b c") && !seen.body.contains("p/c"), "{}", seen.body);
    assert_eq!(seen.header("x-quorate-next"), Some("p%2Fb+c"), "ready for start-after");

    let seen = get("/v1/kv/p/?recurse&limit=2&start-after=p%2Fb+c", Answer::Entries(three()[2..].to_vec())).await;
    let list = KvRead::List { prefix: "p/".to_owned(), page: page(Some("p/b c"), Some(3)) };
    assert_eq!((seen.read(), seen.header("x-quorate-next")), (&now(Read::Kv(list)), None));

    // As many as were asked for, and none after them.
    let seen = get("/v1/kv/p/?recurse&limit=2", Answer::Entries(three()[..2].to_vec())).await;
    assert!(seen.body.contains("p/b c"), "{}", seen.body);
    assert_eq!(seen.header("x-quorate-next"), None);

    let names = |names: &[&str]| Answer::Keys(names.iter().map(|name| (*name).to_owned()).collect());
    let seen = get("/v1/kv/p/?keys&separator=/&limit=1", names(&["p/a", "p/b/"])).await;
    seen.answered(200, r#"["p/a"]"#);
    assert_eq!(seen.header("x-quorate-next"), Some("p%2Fa"));
    let keys = KvRead::Keys { prefix: "p/".to_owned(), separator: "/".to_owned(), page: page(None, Some(2)) };
    assert_eq!(seen.read(), &now(Read::Kv(keys)));

    let seen = get("/v1/kv/p/?keys&limit=4294967295", names(&["p/a"])).await;
    assert_eq!((seen.body.as_str(), seen.header("x-quorate-next")), (r#"["p/a"]"#, None));

    let seen = get("/v1/kv/p/?count", names(&["p/a", "p/b"])).await;
    seen.answered(200, "2");
    assert_eq!(seen.read(), &now(keys_of("p/", "")));
    get("/v1/kv/?count&separator=/", Answer::Keys(vec![])).await.answered(200, "0");
}

#[tokio::test]
async fn pretty_is_four_spaces_and_a_newline() {
    let seen = get("/v1/kv/?keys&pretty", Answer::Keys(vec!["a".to_owned()])).await;
    seen.answered(200, "[\n    \"a\"\n]\n");
    let config = Config { pretty: true, ..Config::default() };
    let request = Request::get("/v1/kv/?keys").body("".into()).unwrap();
    send_with(config, request, [found(Answer::Keys(vec![]))]).await.answered(200, "[]\n");
}

#[tokio::test]
async fn a_missing_key_has_no_body_but_an_index() {
    for path in ["/v1/kv/e/nope", "/v1/kv/e/nope?raw", "/v1/kv/e/?recurse"] {
        let seen = get(path, Answer::Entries(vec![])).await;
        seen.answered(404, "");
        assert_eq!(seen.header("x-consul-index"), Some("385"), "{path}");
        assert_eq!(seen.header("x-consul-knownleader"), Some("true"));
        assert_eq!(seen.header("content-type"), None);
    }
    let seen = get("/v1/kv/zzz/?keys", Answer::Keys(vec![])).await;
    seen.answered(404, "");
    assert_eq!(seen.header("x-consul-index"), Some("385"));
    get("/v1/kv/?keys", Answer::Keys(vec![])).await.answered(200, "[]");
}

#[tokio::test]
async fn a_raw_value_is_no_page() {
    let seen = get("/v1/kv/e/a?raw", Answer::Entries(vec![entry("e/a", "<script>", 385)])).await;
    seen.answered(200, "<script>");
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("x-consul-index", "385"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_each_path_asks() {
    let entries = || Answer::Entries(vec![entry("x", "1", 7)]);
    let names = || Answer::Keys(vec!["a/".to_owned()]);
    for (path, answer, asked) in [
        ("/v1/kv/n%2Fa", entries(), get_key("n/a")),
        ("/v1/kv/a/b", entries(), get_key("a/b")),
        ("/v1/kv/a/b/", entries(), get_key("a/b/")),
        ("/v1/kv/a%252Fb", entries(), get_key("a%2Fb")),
        ("/v1/kv/%2F%2Fa", entries(), get_key("//a")),
        ("/v1/kv/a%20b+c", entries(), get_key("a b+c")),
        ("/v1/kv/%C3%A7?", entries(), get_key("ç")),
        ("/v1/kv/x?recurse=false", entries(), list("x")),
        ("/v1/kv/?recurse=", entries(), list("")),
        ("/v1/kv/?keys", names(), keys_of("", "")),
        ("/v1/kv/n%2F?keys=true&recurse", names(), keys_of("n/", "")),
        ("/v1/kv/?keys&separator=/", names(), keys_of("", "/")),
        ("/v1/kv/?keys=&separator=%2F", names(), keys_of("", "/")),
        ("/v1/kv/?keys&seperator=-", names(), keys_of("", "-")),
    ] {
        let seen = get(path, answer).await;
        assert_eq!((seen.status, seen.read()), (200, &now(asked)), "{path}");
    }
}

#[tokio::test]
async fn consistency_waiting_and_datacenters() {
    let one = || Answer::Entries(vec![entry("a", "1", 7)]);
    assert_eq!(get("/v1/kv/a?stale=", one()).await.read().consistency, Consistency::Stale);
    assert_eq!(get("/v1/kv/a?consistent", one()).await.read().consistency, Consistency::Consistent);
    assert_eq!(get("/v1/kv/a?index=0&wait=30s", one()).await.read().wait, None);
    waited(get("/v1/kv/a?index=42&wait=60000ms", one()).await.read().wait, 42, 60_000);
    waited(get("/v1/kv/a?index=42", one()).await.read().wait, 42, 300_000);
    waited(get("/v1/kv/a?index=42&wait=20m", one()).await.read().wait, 42, 600_000);

    let there = get("/v1/kv/a?dc=dc2", one()).await;
    assert_eq!(there.asked[0].dc.as_deref(), Some("dc2"));
    let here = get("/v1/kv/a?dc=dc1", one()).await;
    assert_eq!(here.asked[0].dc, None);
}

#[tokio::test]
async fn jitter_repeats_from_a_seed_and_spreads() {
    let mut timeouts = Vec::new();
    for seed in [1, 1, 2, 3, 4, 5] {
        let request = Request::get("/v1/kv/a?index=1&wait=16s").body("".into()).unwrap();
        let seen = send_with(Config { seed, ..Config::default() }, request, [found(Answer::Entries(vec![]))]).await;
        waited(seen.read().wait, 1, 16_000);
        timeouts.push(seen.read().wait.unwrap().timeout);
    }
    assert_eq!(timeouts[0], timeouts[1]);
    timeouts.sort_unstable();
    timeouts.dedup();
    assert_eq!(timeouts.len(), 5, "{timeouts:?}");
}

#[tokio::test]
async fn how_old_an_answer_may_be_goes_with_the_question() {
    let old = Reply::Read {
        answer: Answer::Entries(vec![entry("a", "1", 7)]),
        index: LogIndex(0),
        known_leader: false,
        last_contact: Duration::from_millis(1_500),
    };
    let seen = call("GET /v1/kv/a?max_stale=2s&min-index=41", "", [old]).await;
    let asked = ReadRequest {
        consistency: Consistency::Stale,
        max_stale: Some(Duration::from_secs(2)),
        at_least: LogIndex(41),
        ..now(get_key("a"))
    };
    assert_eq!(seen.read(), &asked);
    assert_eq!(seen.header("x-consul-lastcontact"), Some("1500"));
    assert_eq!(seen.header("x-consul-knownleader"), Some("false"));
    assert_eq!(seen.header("x-consul-index"), Some("1"), "never 0");
}

#[tokio::test]
async fn what_is_refused_before_it_is_asked() {
    let conflict = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    for (line, status, sentence) in [
        ("GET /v1/kv/", 400, "Missing key name"),
        ("PUT /v1/kv/", 400, "Missing key name"),
        ("DELETE /v1/kv/", 400, "Missing key name"),
        ("GET /v1/kv/a?index=-1", 400, "Invalid index"),
        ("GET /v1/kv/a?index=bad", 400, "Invalid index"),
        ("GET /v1/kv/a?wait=bad&index=1", 400, "Invalid wait time"),
        ("GET /v1/kv/a?stale&consistent", 400, conflict),
        ("PUT /v1/kv/a?cas=abc", 500, r#"strconv.ParseUint: parsing "abc": invalid syntax"#),
        ("PUT /v1/kv/a?flags=-1", 500, r#"strconv.ParseUint: parsing "-1": invalid syntax"#),
        ("DELETE /v1/kv/a?cas=x", 500, r#"strconv.ParseUint: parsing "x": invalid syntax"#),
        ("PUT /v1/kv/a?cas=1&acquire=x", 400, "Conflicting flags: acquire=x&cas=1"),
        ("DELETE /v1/kv/a?cas=1&recurse", 400, "Conflicting flags: cas=1&recurse="),
        ("GET /v1/kv/a?min-index=x", 400, "Invalid min-index"),
        ("GET /v1/kv/a?recurse&limit=0", 400, "Invalid limit: a number from 1 to 4294967295"),
        ("GET /v1/kv/a?count&keys", 400, "Conflicting flags: count=&keys="),
        ("GET /v1/kv/a?count&limit=3", 400, "Conflicting flags: count=&limit=3"),
        ("GET /v1/kv/a?check-token=1&recurse", 400, "Conflicting flags: check-token=1&recurse="),
        ("GET /v1/kv/a?check-token=x", 500, r#"strconv.ParseUint: parsing "x": invalid syntax"#),
        ("GET /v1/kv/?check-token=1", 400, "Missing key name"),
        ("PUT /v1/kv/a?ttl=30", 400, r#"Invalid ttl: time: missing unit in duration "30""#),
        ("PUT /v1/kv/a?ttl=10ms", 400, r#"Invalid ttl "10ms": a key lives for at least 1s"#),
        ("GET /v1/kv/%zz", 400, r#"invalid URL escape "%zz""#),
        ("PUT /v1/kv/%ff", 400, "the percent-decoded URL is not UTF-8; keys and names are UTF-8 text"),
        ("PUT /v1/kv/a%00", 400, "the path holds a control character; keys and names are printable"),
        ("POST /v1/kv/a", 405, "method POST not allowed"),
        ("HEAD /v1/kv/a", 405, ""),
    ] {
        call(line, "x", []).await.refused(status, sentence);
    }
    let seen = call("POST /v1/kv/e/a", "x", []).await;
    assert_eq!(seen.header("allow"), Some("OPTIONS,GET,PUT,DELETE"));
    let seen = call("OPTIONS /v1/kv/e/a", "", []).await;
    seen.answered(200, "");
    assert_eq!(seen.header("allow"), Some("OPTIONS,GET,PUT,DELETE"));
}

#[tokio::test]
async fn writes_and_their_outcomes() {
    let put = |flags, cas: Option<u64>| {
        Write::Kv(KvWrite::Put {
            pair: Pair { key: "e/a".to_owned(), value: bytes("v1"), flags, ttl: None },
            cas: cas.map(LogIndex),
        })
    };
    let lasting = |ttl| {
        let pair = Pair { key: "e/a".to_owned(), value: bytes("v1"), flags: 0, ttl: Some(ttl) };
        Write::Kv(KvWrite::Put { pair, cas: None })
    };
    let delete = |cas: Option<u64>| Write::Kv(KvWrite::Delete { key: "e/a".to_owned(), cas: cas.map(LogIndex) });
    let tree = |prefix: &str| Write::Kv(KvWrite::DeletePrefix { prefix: prefix.to_owned() });
    for (line, asked) in [
        ("PUT /v1/kv/e%2Fa", put(0, None)),
        ("PUT /v1/kv/e/a?flags=42&cas=0", put(42, Some(0))),
        ("PUT /v1/kv/e/a?cas=18446744073709551615", put(0, Some(u64::MAX))),
        ("PUT /v1/kv/e/a?ttl=1m30s", lasting(Duration::from_secs(90))),
        ("DELETE /v1/kv/e/a", delete(None)),
        ("DELETE /v1/kv/e/a?cas=7", delete(Some(7))),
        ("DELETE /v1/kv/e/?recurse=", tree("e/")),
        ("DELETE /v1/kv/?recurse", tree("")),
    ] {
        let seen = call(line, "v1", [written(Outcome::Done)]).await;
        seen.answered(200, "true");
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.write(), &asked, "{line}");
        assert_eq!((seen.header("x-quorate-index"), seen.header("x-quorate-fencing-token")), (Some("386"), None));
        let unmatched = Outcome::Unmatched { found: LogIndex(9) };
        call(line, "v1", [written(unmatched)]).await.answered(200, "false");
        call(line, "v1", [written(Outcome::Refused("why".to_owned()))]).await.answered(500, "why");
    }
}

#[tokio::test]
async fn refusals_of_the_cluster() {
    for (refusal, status, sentence) in [
        (Refusal::NoLeader, 500, "No cluster leader"),
        (Refusal::NoServers, 500, "No known Consul servers"),
        (Refusal::NoPathToDatacenter, 500, "No path to datacenter"),
        (Refusal::Busy, 429, "RPC rate limit exceeded"),
    ] {
        let seen = call("GET /v1/kv/a", "", [Reply::Refused(refusal.clone())]).await;
        seen.answered(status, sentence);
        assert_eq!(seen.header("content-type"), Some("text/plain; charset=utf-8"));
        call("PUT /v1/kv/a", "x", [Reply::Refused(refusal)]).await.answered(status, sentence);
    }
    let seen = call("GET /v1/kv/a", "", [Reply::Done]).await;
    assert_eq!(seen.status, 500, "another answer than the one asked for is no panic");
}

#[tokio::test]
async fn a_value_over_the_limit_stores_nothing() {
    let sentence = |size: usize| {
        format!(
            "Request body({size} bytes) too large, max size: 524288 bytes. See \
             https://www.consul.io/docs/agent/options.html#kv_max_value_size."
        )
    };
    let limit = 512 * 1024;
    let seen = call("PUT /v1/kv/big", vec![0; limit], [written(Outcome::Done)]).await;
    seen.answered(200, "true");

    // Declared, and sent: read to its end, so that the connection can go on.
    let seen = call("PUT /v1/kv/big", vec![0; limit + 1], []).await;
    seen.refused(413, &sentence(limit + 1));

    // Without a declared length.
    let (body, taken) = pieces(64 * 1024, 16);
    let seen = call("PUT /v1/kv/big", body, []).await;
    seen.refused(413, &sentence(1024 * 1024));
    assert_eq!((taken.load(Ordering::Relaxed), seen.header("connection")), (16, None));

    // Without end: given up.
    let (body, taken) = pieces(1024 * 1024, 1_000_000);
    let seen = call("PUT /v1/kv/big", body, []).await;
    assert_eq!((seen.status, seen.header("connection")), (413, Some("close")));
    assert!(taken.load(Ordering::Relaxed) < 12);

    // Declared, and waiting for a go-ahead that does not come.
    let (body, taken) = pieces(1024 * 1024, 4);
    let request = Request::put("/v1/kv/big")
        .header("content-length", 4 * 1024 * 1024)
        .header("expect", "100-continue")
        .body(body)
        .unwrap();
    let seen = send(request, []).await;
    seen.refused(413, &sentence(4 * 1024 * 1024));
    assert_eq!((taken.load(Ordering::Relaxed), seen.header("connection")), (0, Some("close")));

    // A smaller length declared than sent: what arrives counts.
    let (body, _) = pieces(limit, 2);
    let request = Request::put("/v1/kv/big").header("content-length", 10).body(body).unwrap();
    assert_eq!(send(request, []).await.status, 413);
}

#[tokio::test]
async fn wait_is_part_of_the_words() {
    let seen = get("/v1/kv/a?recurse&index=7&wait=1s&stale", Answer::Entries(vec![])).await;
    let ReadRequest { read, consistency, wait, .. } = seen.read();
    assert_eq!((read, consistency), (&list("a"), &Consistency::Stale));
    assert!(matches!(wait, Some(Wait { index: LogIndex(7), .. })));
}
