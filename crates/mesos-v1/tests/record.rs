//! RecordIO, cut anywhere and told anything.

use marathon_mesos_v1::record::{Decoder, RecordError, encode};
use proptest::prelude::*;

fn all_of(decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, RecordError> {
    let mut records = Vec::new();
    while let Some(record) = decoder.next_record()? {
        records.push(record.to_vec());
    }
    Ok(records)
}

fn stream_of(records: &[&[u8]]) -> Vec<u8> {
    records.iter().flat_map(|it| encode(it)).collect()
}

#[test]
fn a_stream_may_be_cut_at_every_byte() {
    let records: [&[u8]; 4] = [b"{\"type\":\"HEARTBEAT\"}", b"", b"12\n34", &[0xff; 1234]];
    let stream = stream_of(&records);
    for cut in 0..=stream.len() {
        let mut decoder = Decoder::default();
        decoder.feed(&stream[..cut]);
        let mut got = all_of(&mut decoder).expect("whole so far");
        decoder.feed(&stream[cut..]);
        got.extend(all_of(&mut decoder).expect("whole"));
        assert_eq!(got, records, "cut at {cut}");
        assert!(decoder.is_between_records());
    }
    let mut bytewise = Decoder::default();
    let mut got = Vec::new();
    for byte in &stream {
        bytewise.feed(&[*byte]);
        got.extend(all_of(&mut bytewise).expect("whole"));
    }
    assert_eq!(got, records, "byte by byte");
}

#[test]
fn the_end_of_a_stream_within_a_record_is_seen() {
    let stream = stream_of(&[b"abc", b"def"]);
    for cut in 0..stream.len() {
        let mut decoder = Decoder::default();
        decoder.feed(&stream[..cut]);
        all_of(&mut decoder).expect("whole so far");
        assert_eq!(decoder.is_between_records(), [0, 5].contains(&cut), "cut at {cut}");
    }
}

#[test]
fn hostile_lengths_are_errors_that_stay() {
    let check = |stream: &[u8], said: &str| {
        let mut decoder = Decoder::new(1000);
        decoder.feed(stream);
        let error = all_of(&mut decoder).expect_err(said);
        assert_eq!(error.to_string(), said);
        decoder.feed(b"1\nx");
        assert_eq!(decoder.next_record(), Err(error), "there is no going on");
        assert!(!decoder.is_between_records());
    };
    check(b"\n", "the length of a record is not a decimal number: ``");
    check(b"-1\nx", "the length of a record is not a decimal number: `-`");
    check(b"+1\nx", "the length of a record is not a decimal number: `+`");
    check(b"1x\n", "the length of a record is not a decimal number: `1x`");
    check(b" 1\nx", "the length of a record is not a decimal number: ` `");
    check(b"1\r\nx", "the length of a record is not a decimal number: `1\\r`");
    check(b"<html>", "the length of a record is not a decimal number: `<`");
    check(b"3\nabc\xff", "the length of a record is not a decimal number: `\\xff`");
    check(b"1001\n", "a record of 1001 bytes is longer than the 1000 that are accepted");
    check(
        b"18446744073709551615\n",
        "a record of 18446744073709551615 bytes is longer than the 1000 that are accepted",
    );
    check(
        b"99999999999999999999\n",
        "the length of a record is not a decimal number: `99999999999999999999`",
    );
    check(
        b"000000000000000000000000001\n",
        "the length of a record is not a decimal number: `000000000000000000000`",
    );
}

proptest! {
    #[test]
    fn any_records_in_any_pieces_come_out_as_they_went_in(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        pieces in prop::collection::vec(1usize..300, 1..50),
    ) {
        let borrowed: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let stream = stream_of(&borrowed);
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        let mut rest = stream.as_slice();
        for piece in pieces.iter().cycle() {
            if rest.is_empty() { break }
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            decoder.feed(now);
            got.extend(all_of(&mut decoder).expect("our own records"));
            rest = later;
        }
        prop_assert_eq!(got, records);
        prop_assert!(decoder.is_between_records());
    }

    #[test]
    fn any_bytes_end_in_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new(64);
        decoder.feed(&bytes);
        if let Ok(records) = all_of(&mut decoder) {
            prop_assert!(records.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }
    }
}
