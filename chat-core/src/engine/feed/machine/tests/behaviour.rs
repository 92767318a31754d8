//! Tests of the machine by direct calls.

use tokio::sync::oneshot::error::TryRecvError;

use super::*;

#[test]
fn machine_reads_at_most_a_quarter_of_max_in_flight_per_conversation() {
    let mut world = World::new(8, &[(IDS[0], 100), (IDS[1], 100)]);
    let taken = world.take_all();
    assert_eq!(
        taken.len(),
        4,
        "a quarter of `max_in_flight`, which is 8, for each conversation"
    );
    assert_eq!(world.machine.delivery.in_flight_or_reserved(), 4);
    for taken in &taken {
        world.acknowledge(taken);
    }
    assert_eq!(world.take_all().len(), 4);
}

#[test]
fn machine_records_cursors_together_after_the_flush_interval() {
    let mut world = World::new(100, &[(IDS[0], 3), (IDS[1], 2)]);
    for taken in world.take_all() {
        world.acknowledge(&taken);
    }
    assert!(world.model.cursors.is_empty());
    assert_eq!(world.machine.poll_timeout(world.now), Some(world.now + FLUSH));
    world.wait(FLUSH);
    assert_eq!(
        world.model.cursors,
        BTreeMap::from([(IDS[0], Seq(3)), (IDS[1], Seq(2))])
    );
}

#[test]
fn durable_acknowledgement_waits_for_earlier_events_and_notifies_its_consumer() {
    let mut world = World::new(100, &[(IDS[0], 2), (IDS[1], 1)]);
    let (of_other, taken): (Vec<_>, Vec<_>) = world
        .take_all()
        .into_iter()
        .partition(|(event, _)| event.conversation == IDS[1]);
    let (event, term) = &taken[1];
    let mut recorded = world
        .machine
        .acknowledge_durably(world.now, event.conversation, event.seq, *term)
        .unwrap();
    world.settle();
    assert!(recorded.try_recv().is_err(), "the first event is not acknowledged");
    // A write of other cursors comes between.
    world.acknowledge(&of_other[0]);
    world.wait(FLUSH);
    assert!(recorded.try_recv().is_err());
    world.acknowledge(&taken[0]);
    world.settle();
    assert_eq!(recorded.try_recv(), Ok(()), "without waiting for the flush interval");
    assert_eq!(world.model.cursors[&IDS[0]], Seq(2));
}

/// More cursors wait than fit into one write.
#[test]
fn durable_acknowledgement_does_not_wait_for_the_flush_interval_after_a_full_write() {
    let logs: Vec<_> = (0..600).map(|n| (ConversationId(1 + 16 * n), 1)).collect();
    let mut world = World::new(1000, &logs);
    let mut taken = world.take_all();
    assert_eq!(taken.len(), 600);
    let (last, term) = taken.pop().unwrap();
    for taken in taken {
        world.acknowledge(&taken);
    }
    assert!(world.model.cursors.is_empty());
    let mut recorded = world
        .machine
        .acknowledge_durably(world.now, last.conversation, last.seq, term)
        .unwrap();
    world.settle();
    assert!(recorded.try_recv().is_ok());
    assert_eq!(world.model.cursors.len(), 600);
}

#[test]
fn machine_hands_out_nothing_while_its_lease_may_have_expired() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    world.take().unwrap();
    world.now += TTL;
    assert_eq!(world.take(), None);
    world.settle();
    assert!(world.take().is_some(), "the lease was renewed");
}

#[test]
fn machine_with_a_lost_lease_drops_events_in_flight_and_restarts_at_the_cursor() {
    let mut world = World::new(100, &[(IDS[0], 5)]);
    let first = world.take().unwrap();
    world.acknowledge(&first);
    world.wait(FLUSH);
    let second = world.take().unwrap();
    world.model.take_away(FeedShard::of(IDS[0]));
    world.wait(ROUND);
    let recorded = world
        .machine
        .acknowledge_durably(world.now, IDS[0], second.0.seq, second.1);
    assert!(recorded.is_none());
    world.settle();
    assert_eq!(seqs(&world.take_all()), [2, 3, 4, 5]);
    assert_eq!(world.machine.delivery.in_flight_or_reserved(), 4);
}

#[test]
fn refused_cursor_write_reveals_a_lost_lease() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    let first = world.take().unwrap();
    world.model.take_away(FeedShard::of(IDS[0]));
    world.acknowledge(&first);
    world.wait(FLUSH);
    assert!(world.model.cursors.is_empty());
    assert_eq!(world.take(), None);
}

#[test]
fn machine_releases_a_shard_once_none_of_its_events_is_in_flight() {
    let mut world = World::new(100, &[(IDS[0], 3), (IDS[1], 3)]);
    let [kept, leaving] = [IDS[0], IDS[1]];
    // The events of the kept shard stay in flight.
    let mut of_leaving = world.take_all();
    of_leaving.retain(|(event, _)| event.conversation == leaving);
    world.model.shares.insert(NODE, 1);
    world.append(leaving, 1);
    world.wait(ROUND);
    assert!(world.machine.shards.leaving().eq([FeedShard::of(leaving)]));
    assert_eq!(
        world.take(),
        None,
        "no event is handed out of a shard that the node is leaving"
    );
    for taken in &of_leaving {
        world.acknowledge(taken);
    }
    world.wait(FLUSH);
    assert_eq!(world.machine.shards.working(), [FeedShard::of(kept)]);
    assert_eq!(world.machine.shards.leaving().count(), 0);
    assert_eq!(world.model.cursors[&leaving], Seq(3));
}

#[test]
fn growth_of_a_conversation_of_other_users_is_looked_up_only_if_it_is_new_or_joined() {
    let now = Instant::now();
    let options = FeedOptions::user("feed", UserId(1));
    let mut machine = Machine::new(&options, now);
    let mut model = Model::default();
    for work in machine.poll_work(now) {
        let answer = model.execute(now, NODE, work);
        machine.finish(now, answer);
    }
    let news = |seq| News {
        grown: HashMap::from([(IDS[0], Seq(seq))]),
        ..News::default()
    };
    machine.handle_news(&news(50));
    assert_eq!(machine.look_ups.queued(), 0);
    machine.handle_news(&news(1));
    assert_eq!(
        machine.look_ups.queued(),
        1,
        "the conversation may have been opened just now"
    );
    machine.look_ups.remove_shard(FeedShard::of(IDS[0]));
    machine.look_ups.joined(IDS[0]);
    machine.handle_news(&news(51));
    assert_eq!(machine.look_ups.queued(), 1);
}

#[test]
fn news_during_a_scan_is_looked_up_if_the_scan_finds_that_the_user_is_a_member() {
    let now = Instant::now();
    let mut machine = Machine::new(&FeedOptions::user("feed", UserId(1)), now);
    let mut model = Model::new(&[(IDS[0], 49)]);
    let mut leases = machine.poll_work(now);
    let answer = model.execute(now, NODE, leases.remove(0));
    machine.finish(now, answer);
    let mut scan = machine.poll_work(now);
    let answer = model.execute(now, NODE, scan.remove(0));
    // `IDS[2]` is a conversation of other users.
    model.logs.insert(IDS[0], 50);
    let grown = HashMap::from([(IDS[0], Seq(50)), (IDS[2], Seq(50))]);
    machine.handle_news(&News {
        grown,
        ..News::default()
    });
    machine.finish(now, answer);
    assert_eq!(machine.look_ups.queued(), 1);
}

/// Returns the machine of a user's feed that has found 50 events of a group, and its first read.
fn machine_that_reads_a_group(now: Instant) -> (Machine, Read) {
    let mut machine = Machine::new(&FeedOptions::user("feed", UserId(1)), now);
    let mut model = Model::new(&[(IDS[0], 50)]);
    // The first pass claims the leases, the second scans.
    for _ in 0..2 {
        for work in machine.poll_work(now) {
            let answer = model.execute(now, NODE, work);
            machine.finish(now, answer);
        }
    }
    let [Work::Read(read)] = machine.poll_work(now)[..] else {
        panic!("the scan found events, so the machine should read them");
    };
    (machine, read)
}

/// Returns the answer of a read that found no event that the user may read.
fn nothing(read: Read) -> WorkAnswer {
    let found = LogRead {
        is_end: true,
        ..LogRead::default()
    };
    WorkAnswer::Read(read, Ok(found))
}

fn growth(last_seq: u64) -> News {
    News {
        grown: HashMap::from([(IDS[0], Seq(last_seq))]),
        ..News::default()
    }
}

#[test]
fn growth_of_a_group_that_the_user_left_is_ignored_until_the_user_rejoins() {
    let now = Instant::now();
    let (mut machine, read) = machine_that_reads_a_group(now);
    machine.finish(now, nothing(read));
    let mut news = growth(51);
    machine.handle_news(&news);
    assert!(machine.poll_work(now).is_empty());
    news.joined.insert(IDS[0]);
    machine.handle_news(&news);
    let work = machine.poll_work(now);
    assert!(work.iter().any(|work| matches!(work, Work::LookUp(_))));
}

#[test]
fn growth_of_a_group_is_read_although_a_read_from_before_the_user_rejoined_was_empty() {
    let now = Instant::now();
    let (mut machine, first) = machine_that_reads_a_group(now);
    let mut news = growth(51);
    news.joined.insert(IDS[0]);
    machine.handle_news(&news);
    machine.finish(now, nothing(first));
    let second = machine.poll_work(now).into_iter().find_map(|work| match work {
        Work::Read(read) => Some(read),
        _ => None,
    });
    // The log grows after the second read was answered, and before the machine learns the answer.
    machine.handle_news(&growth(52));
    machine.finish(now, nothing(second.expect("the log has grown during the first read")));
    let work = machine.poll_work(now);
    assert!(work.iter().any(|work| matches!(work, Work::Read(_))), "{work:?}");
}

#[test]
fn scan_interrupted_by_an_outage_does_not_delay_the_next_scan() {
    let mut world = World::new(100, &[(IDS[0], 1)]);
    let incomplete_news = News {
        may_be_incomplete: true,
        ..News::default()
    };
    world.machine.handle_news(&incomplete_news);
    for _ in 0..600 {
        for work in world.machine.poll_work(world.now) {
            world.machine.finish(world.now, fail(work));
        }
        world.now += Duration::from_secs(1);
    }
    world.wait(Duration::from_secs(10));
    world.model.logs.insert(IDS[1], 1);
    world.machine.handle_news(&incomplete_news);
    world.settle();
    let taken = world.take_all();
    assert!(taken.iter().any(|(event, _)| event.conversation == IDS[1]));
}

#[test]
fn queues_do_not_grow_if_a_shard_is_lost_repeatedly() {
    let mut world = World::new(2, &[(IDS[0], 9), (IDS[2], 9)]);
    assert_eq!(world.take_all().len(), 2, "the consumer acknowledges nothing");
    world.append(IDS[1], 3);
    for _ in 0..50 {
        world.model.take_away(FeedShard::of(IDS[1]));
        world.wait(ROUND);
        assert_eq!((world.machine.reads.queued(), world.machine.look_ups.queued()), (1, 0));
    }
}

#[test]
fn cursor_beyond_the_end_of_the_log_waits_for_the_log_to_pass_it() {
    let mut world = World::new(100, &[]);
    world.model.cursors.insert(IDS[0], Seq(5));
    world.append(IDS[0], 3);
    assert_eq!(world.take(), None);
    world.append(IDS[0], 4);
    assert_eq!(seqs(&world.take_all()), [6, 7]);
}

#[test]
fn shard_that_is_kept_after_all_continues_with_events_that_arrived_meanwhile() {
    let mut world = World::new(100, &[(IDS[0], 1), (IDS[1], 1)]);
    let taken = world.take_all();
    world.model.shares.insert(NODE, 1);
    world.wait(ROUND);
    assert_eq!(world.machine.shards.leaving().count(), 1);
    world.append(IDS[1], 2);
    assert_eq!(world.take(), None);
    world.model.shares.clear();
    world.wait(ROUND);
    assert_eq!(seqs(&world.take_all()), [2, 3]);
    taken.iter().for_each(|taken| world.acknowledge(taken));
}

#[test]
fn closing_feed_keeps_its_leases_for_the_items_that_the_consumer_has() {
    let mut world = World::new(100, &[(IDS[0], 3)]);
    let held = world.take().unwrap();
    world.machine.close(world.now, world.now + 10 * TTL);
    assert_eq!(world.take(), None, "a closing feed hands out no events");
    world.model.take_away(FeedShard::of(IDS[1]));
    for _ in 0..20 {
        world.wait(ROUND);
        assert!(!world.machine.is_drained(world.now));
    }
    let claimed: Vec<_> = world.machine.leases().iter().map(|lease| lease.shard).collect();
    assert_eq!(claimed, [FeedShard::of(IDS[0])], "a closing feed claims no shards");
    assert!(world.model.leases[&claimed[0]].expires > world.now);
    world.acknowledge(&held);
    assert_eq!(world.model.cursors[&IDS[0]], Seq(1));
    assert!(world.machine.is_drained(world.now));
}

#[test]
fn waiting_and_later_acknowledgements_fail_at_the_end_of_the_feed() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    let taken = world.take_all();
    let acknowledge = |world: &mut World, (event, term): &(Event, u64)| {
        let conversation = event.conversation;
        world
            .machine
            .acknowledge_durably(world.now, conversation, event.seq, *term)
    };
    let mut waiting = acknowledge(&mut world, &taken[1]).unwrap();
    assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
    world.machine.end();
    assert_eq!(waiting.try_recv(), Err(TryRecvError::Closed));
    assert!(acknowledge(&mut world, &taken[0]).is_none());
    world.machine.item_returned();
    assert_eq!(world.take(), None);
    assert!(world.machine.poll_work(world.now + TTL).is_empty());
}
