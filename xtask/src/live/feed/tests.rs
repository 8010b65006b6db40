//! The program on single frames, which it does not send: every length and checksum it writes.

use std::collections::HashSet;

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::{Feed, Job, Target};
use crate::r#gen::live::Feed as Traffic;
use crate::r#gen::stream::Sizes;

const XDP_REDIRECT: u32 = 4;

/// Makes the frames of a job one by one; none if it cannot be here.
fn make(job: &Job) -> Option<Vec<Vec<u8>>> {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "live frames need root, which CI promises");
        eprintln!("*** NOT RUN *** live frames need root");
        return None;
    }
    let target = Target { interface: "lo".into(), netns: None, any_interface: true };
    let feed = Feed::load(&target, job).unwrap();
    let program: &Xdp = feed.object.program("feed").unwrap().try_into().unwrap();
    let make = |_| {
        let mut frame = vec![0; feed.whole.len()];
        let (data_in, data_out) = (Some(&*feed.whole), Some(&mut *frame));
        let result = program
            .test_run(TestRunOptions { data_in, data_out, ..TestRunOptions::default() })
            .unwrap();
        assert_eq!(result.return_value, XDP_REDIRECT);
        frame.truncate(result.data_size_out as usize);
        frame
    };
    let frames: Vec<_> = (0..job.frames).map(make).collect();
    let made = feed.made(job).unwrap();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    assert_eq!((made.frames, made.frame_bytes), (job.frames, bytes as u64));
    Some(frames)
}

/// Ends of a frame whose lengths and checksums are right.
fn ends(frame: &[u8]) -> ([u8; 4], [u8; 4], u16) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert!(frame.len() == 60 || frame.len() == 14 + usize::from(header.total_len));
    assert_eq!((&frame[4..6], &frame[10..12]), (&header.destination[2..], &header.source[2..]));
    let port = match packet.transport {
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!(usize::from(udp.length()), usize::from(header.total_len) - 20);
            let sum = udp.to_header().calc_checksum_ipv4_raw(
                header.source,
                header.destination,
                udp.payload(),
            );
            assert_eq!(Ok(udp.checksum()), sum);
            udp.source_port()
        }
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv4(header.source, header.destination)
            );
            assert!(tcp.syn());
            tcp.source_port()
        }
        other => panic!("{other:?}"),
    };
    (header.source, header.destination, port)
}

#[test]
fn frames_are_right_and_flows_as_many_as_asked_for() {
    let imix = Sizes(vec![(60, 7), (591, 4), (1_514, 1)]);
    for traffic in [Traffic::udp(imix), Traffic::syns(), Traffic::scan()] {
        let (job, _) = traffic.job(2_400, 700, 3, None).unwrap();
        let Some(frames) = make(&job) else { return };
        let flows: HashSet<_> = frames.iter().map(|frame| ends(frame)).collect();
        assert_eq!(flows.len(), 700);
        let first: HashSet<_> = frames[..700].iter().map(|frame| ends(frame)).collect();
        assert_eq!(first, flows, "each flow once before any comes again");
        if job.templates.len() > 1 {
            let count = |len| frames.iter().filter(|frame| frame.len() == len).count();
            let lens = [60, 591, 1_514].map(count);
            let wants = [1_400, 800, 200];
            assert!(lens.iter().zip(wants).all(|(n, want)| n.abs_diff(want) < 90), "{lens:?}");
        }
    }
}
