//! Tests of framing: reads of any size yield the same packets, limits bound size and memory, and
//! packets are intact when the decoder wipes its buffer.

use bytes::BytesMut;
use proptest::prelude::*;

use crate::codec::FrameError;
use crate::codec::frame::{FrameDecoder, put_frame};

fn stream(packets: &[Vec<u8>]) -> BytesMut {
    let mut out = BytesMut::new();
    packets.iter().for_each(|packet| put_frame(&mut out, packet));
    out
}

fn drain(decoder: &mut FrameDecoder, into: &mut Vec<Vec<u8>>) {
    while let Some(packet) = decoder.next_packet().unwrap() {
        into.push(packet.to_vec());
    }
}

#[test]
fn decoder_yields_same_packets_for_every_split() {
    let packets: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 127], vec![3; 300], vec![], vec![4; 5]];
    let bytes = stream(&packets);
    for cut in 0..=bytes.len() {
        let mut decoder = FrameDecoder::new(1000);
        let mut got = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            decoder.feed(BytesMut::from(part));
            drain(&mut decoder, &mut got);
        }
        assert_eq!(got, packets, "cut at {cut}");
        assert!(decoder.is_empty());
    }
}

#[test]
fn decoder_yields_ten_thousand_packets_in_order() {
    let packets: Vec<Vec<u8>> = (0..10_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let mut decoder = FrameDecoder::new(1000);
    decoder.feed(stream(&packets));
    let mut got = Vec::new();
    drain(&mut decoder, &mut got);
    assert_eq!(got, packets);
}

#[test]
fn decoder_reserves_little_memory_for_an_announced_length() {
    let mut decoder = FrameDecoder::new(1000);
    decoder.feed(BytesMut::from(&1001u32.to_be_bytes()[..]));
    let refused = FrameError::TooLarge {
        length: 1001,
        limit: 1000,
    };
    assert_eq!(decoder.next_packet(), Err(refused));
    assert!(decoder.buffer().capacity() < 100);

    let mut decoder = FrameDecoder::new(usize::MAX);
    decoder.feed(BytesMut::from(&u32::MAX.to_be_bytes()[..]));
    assert_eq!(decoder.next_packet(), Ok(None));
    assert!(
        decoder.buffer().capacity() < 64 * 1024,
        "memory grows with the bytes that arrived"
    );
}

#[test]
fn decoder_accepts_buffered_packet_after_limit_is_raised() {
    let mut decoder = FrameDecoder::new(10);
    decoder.feed(stream(&[vec![7; 11]]));
    assert!(decoder.next_packet().is_err());
    decoder.set_limit(11);
    assert_eq!(decoder.next_packet().unwrap().unwrap(), vec![7; 11]);
}

proptest! {
    #[test]
    fn decoder_yields_same_packets_for_any_splits(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
        cuts in prop::collection::vec(1usize..200, 1..20),
    ) {
        let mut bytes = stream(&packets);
        let mut decoder = FrameDecoder::new(600);
        let mut got = Vec::new();
        for cut in cuts.into_iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let part = bytes.split_to(cut.min(bytes.len()));
            decoder.feed(part);
            drain(&mut decoder, &mut got);
        }
        prop_assert_eq!(got, packets);
    }

    #[test]
    fn decoder_survives_random_streams(bytes in prop::collection::vec(any::<u8>(), 0..400), limit in 0usize..500) {
        let mut decoder = FrameDecoder::new(limit);
        decoder.feed(BytesMut::from(&bytes[..]));
        while let Ok(Some(packet)) = decoder.next_packet() {
            prop_assert!(packet.len() <= limit);
        }
    }
}

#[test]
fn packets_are_intact_while_the_decoder_wipes_its_buffer() {
    let mut framed = BytesMut::new();
    put_frame(&mut framed, b"a password");
    put_frame(&mut framed, b"next");
    let mut decoder = FrameDecoder::new(4096);
    decoder.set_wiping(true);
    // The packet arrives in two parts, so that the buffer grows.
    let (first, rest) = framed.split_at(9);
    decoder.append(first);
    assert_eq!(decoder.next_packet().unwrap(), None);
    decoder.feed(BytesMut::from(rest));
    let packet = decoder.next_packet().unwrap().unwrap();
    assert_eq!(&packet[..], b"a password");
    assert_eq!(&decoder.next_packet().unwrap().unwrap()[..], b"next");
    decoder.set_wiping(false);
    let mut framed = BytesMut::new();
    put_frame(&mut framed, b"message");
    decoder.append(&framed);
    assert_eq!(&decoder.next_packet().unwrap().unwrap()[..], b"message");
}
