use std::time::Duration;

use super::receiving::REORDER_BYTES;
use super::*;
use crate::cloud::relay::chance::Chance;
use crate::cloud::relay::frame::{Data, Frame};
use crate::rpc::transport::MAX_MESSAGE;

/// A link that loses, doubles and reorders; time is counted, not waited for.
struct Link {
    /// Arrival and bytes of what is on its way, per direction.
    ways: [Vec<(Instant, Vec<u8>)>; 2],
    loss: usize,
    doubling: usize,
}

impl Link {
    fn put(&mut self, to: usize, now: Instant, bytes: Vec<u8>, chance: &mut Chance) {
        let copies = 1 + usize::from(chance.percent(self.doubling));
        for _ in 0..copies {
            if !chance.percent(self.loss) {
                let delay = Duration::from_millis(chance.below(300) as u64);
                self.ways[to].push((now + delay, bytes.clone()));
            }
        }
    }

    fn take(&mut self, to: usize, now: Instant) -> Vec<Vec<u8>> {
        let arrived = self.ways[to].extract_if(.., |(at, _)| *at <= now);
        let mut arrived: Vec<_> = arrived.collect();
        arrived.sort_by_key(|(at, _)| *at);
        arrived.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

fn emit_to(flow: &mut Flow, now: Instant, frames: &mut Vec<Vec<u8>>) {
    flow.emit(now, |ack, body| {
        let mut bytes = Vec::new();
        Frame {
            stream: "s",
            ack,
            body,
        }
        .encode(&mut bytes);
        frames.push(bytes);
    })
    .unwrap();
}

/// Both ends of a stream acknowledge; each message arrives once and in order.
fn play(seed: u64, loss: usize, doubling: usize) {
    let mut chance = Chance::new(seed);
    let mut link = Link {
        ways: [Vec::new(), Vec::new()],
        loss,
        doubling,
    };
    let mut now = Instant::now();
    let mut ends = [Flow::new(), Flow::new()];
    // The one that opened the stream decides that there are acknowledgements.
    ends[0].peer = Peer::Acknowledging;
    let message = |number: usize, chance: &mut Chance| {
        let length = match chance.below(10) {
            0 => chance.below(3 * SEGMENT),
            _ => chance.below(200),
        };
        let mut bytes = format!("{number}:").into_bytes();
        bytes.extend((0..length).map(|at| (at * 31 + number) as u8));
        bytes
    };
    let to_send: [Vec<Vec<u8>>; 2] = [0, 1].map(|_| {
        let count = 150;
        (0..count)
            .map(|number| message(number, &mut chance))
            .collect()
    });
    let mut sent = [0, 0];
    let mut got: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..200_000 {
        now += Duration::from_millis(20);
        for me in [0, 1] {
            // The one that was called answers what it was asked, as a server does.
            let may_send = me == 0 || !got[1].is_empty();
            if may_send && ends[me].can_send() && sent[me] < to_send[me].len() && chance.percent(50)
            {
                ends[me].send(to_send[me][sent[me]].clone());
                sent[me] += 1;
            }
            let mut frames = Vec::new();
            emit_to(&mut ends[me], now, &mut frames);
            if me == 0 && got[0].is_empty() {
                let hello = Frame {
                    stream: "s",
                    ack: 0,
                    body: Body::Ack,
                };
                let mut bytes = Vec::new();
                hello.encode(&mut bytes);
                frames.push(bytes);
            }
            for bytes in frames {
                link.put(1 - me, now, bytes, &mut chance);
            }
            for bytes in link.take(me, now) {
                let frame = Frame::decode(&bytes).unwrap();
                // Sometimes there is no room, and the frame has to come again.
                let has_room = chance.percent(90) || ends[me].peer != Peer::Acknowledging;
                let mine = &mut got[me];
                ends[me]
                    .receive(frame.ack, &frame.body, now, has_room, |message| {
                        mine.push(message)
                    })
                    .unwrap();
            }
            assert!(ends[me].sending.kept.len() <= WINDOW_FRAMES);
            assert!(ends[me].receiving.early_bytes <= REORDER_BYTES);
        }
        if got[1].len() == to_send[0].len() && got[0].len() == to_send[1].len() {
            break;
        }
    }
    for me in [0, 1] {
        assert_eq!(got[me].len(), to_send[1 - me].len(), "seed {seed}");
        assert!(got[me] == to_send[1 - me], "seed {seed}");
    }
}

#[test]
fn over_a_lossy_doubling_reordering_link_each_message_arrives_once_and_in_order() {
    for seed in 0..12 {
        play(seed, 0, 0);
        play(seed, 10, 10);
        play(seed, 40, 30);
    }
}

fn data(seq: u32, index: u32, count: u32, payload: &[u8]) -> Body<'_> {
    Body::Data(Data {
        seq,
        index,
        count,
        payload,
    })
}

fn take(flow: &mut Flow, body: Body<'_>) -> Result<Vec<Vec<u8>>, FlowError> {
    let mut got = Vec::new();
    flow.receive(0, &body, Instant::now(), true, |message| got.push(message))?;
    Ok(got)
}

fn sent_by(flow: &mut Flow) -> Vec<(u32, u32, u32, usize)> {
    let mut sent = Vec::new();
    flow.emit(Instant::now(), |_, body| {
        if let Body::Data(data) = body {
            sent.push((data.seq, data.index, data.count, data.payload.len()));
        }
    })
    .unwrap();
    sent
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_whole_messages_and_nothing_is_kept_for_it() {
    let mut flow = Flow::new();
    assert_eq!(take(&mut flow, Body::Resume(0)), Ok(vec![]));
    assert_eq!(
        take(&mut flow, data(0, 0, 1, b"hello")),
        Ok(vec![b"hello".to_vec()])
    );
    for seq in 0..100 {
        assert!(flow.can_send());
        flow.send(vec![b'x'; 3 * SEGMENT]);
        assert_eq!(sent_by(&mut flow), [(seq, 0, 1, 3 * SEGMENT)]);
    }
    assert_eq!((flow.sending.kept_bytes, flow.due()), (0, None));
    assert_eq!(take(&mut flow, Body::Resume(0)), Ok(vec![]));
    assert_eq!(take(&mut flow, Body::Ack), Err(FlowError::Forgotten));
}

#[test]
fn the_window_stops_a_sender_until_it_is_acknowledged() {
    let mut flow = Flow::new();
    take(&mut flow, Body::Ack).unwrap();
    flow.send(vec![b'x'; 40 * SEGMENT]);
    let sent = sent_by(&mut flow);
    assert_eq!(sent.len(), WINDOW_BYTES / SEGMENT);
    assert_eq!(sent[15], (15, 15, 40, SEGMENT));
    assert!(!flow.can_send());
    assert!(sent_by(&mut flow).is_empty());
    flow.receive(10, &Body::Heartbeat, Instant::now(), true, |_| ())
        .unwrap();
    assert_eq!(sent_by(&mut flow).len(), 10);
    // Resumed, all that was not acknowledged comes again at once.
    take(&mut flow, Body::Resume(12)).unwrap();
    let again: Vec<_> = sent_by(&mut flow).iter().map(|sent| sent.0).collect();
    assert_eq!(again, (12..28).collect::<Vec<_>>());
    assert_eq!(take(&mut flow, Body::Resume(5)), Err(FlowError::Forgotten));
    let wrong = flow.receive(99, &Body::Ack, Instant::now(), true, |_| ());
    assert_eq!(wrong, Err(FlowError::Ack));
}

#[test]
fn what_is_never_acknowledged_is_given_up() {
    let mut flow = Flow::new();
    take(&mut flow, Body::Ack).unwrap();
    flow.send(b"x".to_vec());
    let mut now = Instant::now();
    let mut times = 0;
    let ended = loop {
        if let Err(error) = flow.emit(now, |_, _| times += 1) {
            break error;
        }
        now += RESEND;
    };
    assert_eq!((ended, times), (FlowError::Unacknowledged, MAX_SENDS));
}

#[test]
fn a_hostile_peer_is_told_off_and_costs_little() {
    for (body, error) in [
        (data(0, 0, u32::MAX, b"x"), FlowError::TooLarge),
        (data(0, 1, 2, b"x"), FlowError::Segments),
    ] {
        assert_eq!(take(&mut Flow::new(), body), Err(error));
    }
    let mut flow = Flow::new();
    for seq in (1..2_000_000).step_by(7) {
        take(&mut flow, data(seq, 0, 1, &[0; 40_000])).unwrap();
    }
    assert!(flow.receiving.early_bytes <= REORDER_BYTES);
    let late = Instant::now() + GAP;
    assert_eq!(flow.emit(late, |_, _| ()), Err(FlowError::Gap));
    // A message of many segments ends where a message must.
    let mut flow = Flow::new();
    let segment = vec![0; 1024 * 1024];
    let ended = (0..100).find_map(|seq| take(&mut flow, data(seq, seq, 4096, &segment)).err());
    assert!(matches!(ended, Some(FlowError::TooLarge | FlowError::Busy)));
    assert!(flow.receiving.message.len() <= MAX_MESSAGE);
}

#[test]
fn a_peer_that_cannot_be_told_to_wait_may_not_overrun_us() {
    let mut flow = Flow::new();
    let now = Instant::now();
    let overrun = flow.receive(0, &data(0, 0, 1, b"x"), now, false, |_| ());
    assert_eq!(overrun, Err(FlowError::Overrun));
    let mut flow = Flow::new();
    take(&mut flow, Body::Ack).unwrap();
    flow.receive(0, &data(0, 0, 1, b"x"), now, false, |_| panic!())
        .unwrap();
    assert_eq!(
        take(&mut flow, data(0, 0, 1, b"x")),
        Ok(vec![b"x".to_vec()])
    );
}
