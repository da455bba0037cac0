//! Queries: who hears them, whose answers come back by which road, and what a flood of them cannot do.

mod world;

use bytes::Bytes;
use quorate_gossip::FireError;
use quorate_protocol::{Query, Question};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{World, secs};

fn ask(world: &mut World, n: usize, question: Question) -> Result<Query, FireError> {
    let now = world.now;
    world.with(n, |gossip| gossip.query(now, question))
}

fn question(name: &str) -> Question {
    Question { name: name.to_owned(), ..Question::default() }
}

/// Lets whoever has heard the query and has not answered yet do so, until its time is up.
fn all_answer(world: &mut World, query: &Query, answer: Option<&'static [u8]>) {
    let mut answered = BTreeSet::new();
    let end = world.now + query.question.timeout;
    while world.now < end {
        world.run(Duration::from_millis(10));
        let heard: Vec<usize> =
            world.queries.iter().filter(|(_, _, heard)| heard.id == query.id).map(|(_, n, _)| *n).collect();
        for n in heard.into_iter().filter(|n| answered.insert(*n)) {
            let now = world.now;
            let said = world.with(n, |gossip| gossip.answer(now, query, answer.map(Bytes::from_static)));
            assert_eq!(said, Ok(()));
        }
    }
}

/// Who answered `n`.
fn answered(world: &World, n: usize, query: &Query) -> usize {
    let replies = world.query_replies.iter().filter(|(asker, reply)| *asker == n && reply.query == query.id);
    let from: Vec<_> = replies.map(|(_, reply)| reply.from).collect();
    assert_eq!(from.iter().collect::<BTreeSet<_>>().len(), from.len(), "twice");
    from.len()
}

#[test]
fn everybody_is_asked_once_and_answers_within_the_usual_time() {
    for (agents, timeout_ms) in [(1, 1600), (9, 1600), (10, 3200), (32, 3200)] {
        let mut world = World::joined(agents, 1);
        let asker = agents / 2;
        let query = ask(&mut world, asker, question("load")).unwrap();
        assert_eq!(query.question.timeout, Duration::from_millis(timeout_ms), "{agents}");
        all_answer(&mut world, &query, Some(b"0.5"));
        assert_eq!(answered(&world, asker, &query), agents);
        world.run(secs(5));
        assert_eq!(world.queries.len(), agents, "and nobody is asked again");
        assert!(world.query_replies.iter().all(|(n, reply)| *n == asker && reply.answer.as_deref() == Some(b"0.5")));
    }
}

#[test]
fn answers_come_through_others_where_datagrams_are_lost() {
    let came = |relays| {
        let mut world = World::joined(16, 2);
        world.loss_percent = 25;
        let query = ask(&mut world, 0, Question { relays, timeout: secs(5), ..question("load") }).unwrap();
        all_answer(&mut world, &query, None);
        answered(&world, 0, &query)
    };
    assert_eq!(came(5), 16);
    assert!(came(0) < 16, "without them some are lost");
}

#[test]
fn what_comes_too_late_or_for_no_member_is_dropped_and_counted() {
    let mut world = World::joined(3, 3);
    let query = ask(&mut world, 0, Question { timeout: Duration::from_millis(500), ..question("load") }).unwrap();
    world.run(secs(1));
    let now = world.now;
    world.with(1, |gossip| gossip.answer(now, &query, None)).unwrap();
    world.run(secs(1));
    assert_eq!(answered(&world, 0, &query), 0);
    assert_eq!(world.get(0).counters().get("answer_too_late"), Some(&1));

    // Nobody is flooded through a member: answers are passed on to members alone.
    let elsewhere = Query {
        address: ([192, 0, 2, 1], 53).into(),
        question: Question { relays: 5, ..query.question.clone() },
        ..query.clone()
    };
    world.with(1, |gossip| gossip.answer(now, &elsewhere, None)).unwrap();
    world.run(secs(1));
    assert_eq!(world.get(2).counters().get("answer_not_relayed"), Some(&1));

    let long = Bytes::from(vec![0; 1025]);
    assert!(world.with(1, |gossip| gossip.answer(now, &query, Some(long))).is_err());
}

#[test]
fn too_many_and_too_long_are_refused_with_the_limit() {
    let mut world = World::joined(2, 4);
    let long = Question { payload: vec![0; 1021].into(), ..question("load") };
    let refused = ask(&mut world, 0, long).unwrap_err();
    assert!(refused.to_string().contains("1025 bytes are more than the 1024"), "{refused}");
    assert!(ask(&mut world, 0, question("")).is_err());
    let sent = (0..200).filter(|_| ask(&mut world, 0, question("many")).is_ok()).count();
    assert_eq!(sent, 64);
    assert_eq!(ask(&mut world, 0, question("more")), Err(FireError::TooMany));
    world.run(secs(5));
    assert_eq!(world.queries.iter().filter(|(_, n, _)| *n == 1).count(), 64);
    assert!(ask(&mut world, 0, question("later")).is_ok());
}

#[test]
fn who_comes_late_can_still_ask() {
    let mut world = World::joined(3, 5);
    // More than anybody remembers: what is older than they is taken for a repetition.
    for _ in 0..10 {
        for n in 0..60 {
            ask(&mut world, n % 2, question("busy")).unwrap();
        }
        world.run(secs(5));
    }
    world.crash(2);
    world.restart(2, 0, |_| {});
    world.run(secs(2));
    let query = ask(&mut world, 2, question("new")).unwrap();
    all_answer(&mut world, &query, None);
    assert_eq!(answered(&world, 2, &query), 3);
}
