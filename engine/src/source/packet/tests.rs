//! What is refused before the kernel is asked, and how errors read.

use super::*;

#[test]
fn sizes_are_checked_and_blocks_are_several() {
    let layout = |frames_per_ring, rings| {
        let config =
            ObserveConfig { interface: "x".into(), rings, frames_per_ring, snap_bytes: 4096 };
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(layout(4096, 1), Ok(Layout { blocks: 64, block_bytes: 256 << 10 }));
    assert_eq!(layout(64, 64), Ok(Layout { blocks: 4, block_bytes: 64 << 10 }));
    assert_eq!(layout(65_536, 1), Ok(Layout { blocks: 1024, block_bytes: 256 << 10 }));
    for (frames, rings, expected) in [
        (32, 1, "not a power of two from 64 to 65536"),
        (100, 1, "not a power of two"),
        (1 << 17, 1, "not a power of two"),
        (64, 0, "0 rings, not 1 to 64"),
        (64, 65, "65 rings"),
    ] {
        let error = layout(frames, rings).unwrap_err();
        assert!(error.starts_with("observe x: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    for (code, expected) in [
        (libc::EPERM, "observe eth0: operation not permitted; run as root, or with CAP_NET_RAW"),
        (libc::ENETDOWN, "observe eth0: network is down; bring it up with `ip link set eth0 up`"),
        (libc::ENOMEM, "observe eth0: cannot allocate memory; free memory, or use fewer frames"),
        (libc::EINVAL, "observe eth0: invalid argument"),
    ] {
        let cause = io::Error::from_raw_os_error(code);
        assert_eq!(refused("observe eth0".into(), "eth0", &cause).to_string(), expected);
    }
}

#[test]
fn links_that_are_not_decoded_are_told_apart() {
    assert_eq!(Link(libc::ARPHRD_ETHER).link_type(), Some(LinkType::ETHERNET));
    assert_eq!(Link(libc::ARPHRD_NONE).link_type(), Some(LinkType::RAW));
    assert_eq!(Link(803).link_type(), None, "radiotap");
    assert!(Link(libc::ARPHRD_LOOPBACK).is_loopback() && !Link(libc::ARPHRD_ETHER).is_loopback());
}
