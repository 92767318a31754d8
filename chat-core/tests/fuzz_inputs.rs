//! Runs the functions of the fuzz targets on stable Rust, with inputs from proptest.

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_sent_content_opens_from_modified_records(data in vec(any::<u8>(), 0..2048)) {
        targets::record(&data);
    }

    #[test]
    fn handshakes_survive_any_bytes(data in vec(any::<u8>(), 0..1500)) {
        targets::handshake(&data);
    }

    #[test]
    fn packets_survive_any_bytes(data in vec(any::<u8>(), 0..2048)) {
        targets::packet(&data);
    }

    /// Random bytes are rarely a valid packet, so these packets start with a request id and the tag
    /// of the field that selects the command. Some tags belong to no command.
    #[test]
    fn packets_survive_any_command(id in 1_u8..128, field in 2_u32..90, body in vec(any::<u8>(), 0..100)) {
        let mut packet = vec![0x08, id];
        let mut tag = u64::from(field << 3 | 2);
        while tag >= 0x80 {
            packet.push((tag & 0x7f) as u8 | 0x80);
            tag >>= 7;
        }
        packet.push(tag as u8);
        packet.push(body.len() as u8);
        packet.extend_from_slice(&body);
        targets::packet(&packet);
    }

    #[test]
    fn sessions_survive_any_script(data in vec(any::<u8>(), 0..1000)) {
        targets::session_script(&data);
    }

    /// The script begins with a hello and a login, and uses small ids.
    #[test]
    fn sessions_survive_any_script_after_login(data in vec(0_u8..40, 0..1000)) {
        targets::session_script(&[&[1, 1, 2, 2][..], &data].concat());
    }
}
