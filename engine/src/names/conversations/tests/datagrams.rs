//! Datagrams, by their ports or by what they begin with.

use super::*;
use crate::limits::{COPIED_BYTES, DNS_RECORDS, STREAM_PAYLOADS};
use crate::names::App;

const UDP: u8 = protocol::UDP;

/// An answer that gives a.org an address.
const ANSWER: &[u8] = b"\x12\x34\x84\x00\x00\x00\x00\x01\0\0\0\0\
    \x01a\x03org\x00\x00\x01\x80\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";

#[test]
fn ports_say_which_service_it_is() {
    // Without a question it answers none by DNS, and by mDNS names are others.
    let services =
        [(53, NameService::Dns, 0), (5_353, NameService::Mdns, 0), (5_355, NameService::Llmnr, 1)];
    for (port, service, answers) in services {
        let mut flow = Flow::new(UDP, port);
        let found = flow.see(FROM_SERVER, 0, ANSWER);
        let [Finding::Dns(message)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((message.service, message.answers.len()), (service, answers));
        assert_eq!(message.answers.len() + message.unasked as usize, 1);
        assert!(message.answers.iter().all(|answer| &*answer.name == "a.org"));
        assert_eq!(flow.conversations.held(), (0, 0), "nothing is remembered");
        flow.see(FROM_SERVER, 0, &ANSWER[..11]);
        let want = ParserCounters { malformed: 1, ..Default::default() };
        assert_eq!(flow.conversations.counters(), want);
    }
    let mut flow = Flow::new(UDP, 137);
    let query = [
        b"\0\x01\x01\x10\0\x01\0\0\0\0\0\0\x20".as_slice(),
        b"FDCOFJEJENEHCOEDEPENCACACACACAAA\0\0\x20\0\x01",
    ];
    let found = flow.see(FROM_CLIENT, 0, &query.concat());
    let [Finding::Dns(message)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(message.question.as_ref().unwrap().0, "s.yimg.com".into());
    let mut flow = Flow::new(UDP, 1_900);
    let found = flow.see(FROM_SERVER, 0, b"HTTP/1.1 200 OK\r\nSERVER: box\r\n\r\n");
    let [app, Finding::Host(hint)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*app, Finding::Flow(FlowFact::App(App::Ssdp)));
    assert_eq!(hint.address, Some([192, 0, 2, 2].into()));
}

/// Of those what is there counts, and that there was more is counted.
#[test]
fn messages_of_a_name_service_that_are_too_long_are_counted() {
    let few = DNS_RECORDS;
    for (records, claimed, longer_by, want) in [
        (few, few, 0, 0),
        (few + 44, few + 44, 0, 1),
        (1, few + 44, 0, 0),
        (1, few, 0, 0),
        (200, 400, 5_000, 1),
        (few + 1, 400, 5_000, 1),
    ] {
        let claimed = u16::try_from(claimed).unwrap().to_be_bytes();
        let header = [b"\x12\x34\x84\0\0\0".as_slice(), &claimed, b"\0\0\0\0"].concat();
        let record = b"\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
        let mut message = [&header[..], &record.repeat(records)].concat();
        message.resize(if longer_by > 0 { COPIED_BYTES } else { message.len() }, 0);
        for protocol in [UDP, protocol::TCP] {
            let mut flow = Flow::new(protocol, 53);
            let length = u16::try_from(message.len() + longer_by as usize).unwrap();
            let mut bytes = message.clone();
            if protocol == protocol::TCP {
                bytes = [&length.to_be_bytes()[..], &message].concat();
            }
            let found = flow.see_cut(FROM_SERVER, 0, &bytes, longer_by);
            assert!(matches!(found[..], [Finding::Dns(_)]), "{records}");
            let want = ParserCounters { too_long: want, ..Default::default() };
            assert_eq!(flow.conversations.counters(), want, "{records} of {claimed:?}");
        }
    }
    // What captures leave of a packet is no bound of ours.
    let mut flow = Flow::new(UDP, 53);
    flow.see_cut(FROM_SERVER, 0, ANSWER, 5_000);
    assert_eq!(flow.conversations.counters(), ParserCounters::default());
}

#[test]
fn quic_is_known_by_its_beginning() {
    // The server's packet of RFC 9001 appendix A.3, without the client's.
    let mut packet =
        b"\xcf\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5\x00\x40\x75".to_vec();
    packet.resize(packet.len() + 0x75, 0x5a);
    let mut flow = Flow::new(UDP, 9_999);
    for _ in 0..STREAM_PAYLOADS + 5 {
        assert_eq!(flow.see(FROM_SERVER, 0, &packet), []);
    }
    assert_eq!(flow.conversations.held(), (1, 0));
    assert_eq!(flow.conversations.counters().quic_closed, u64::from(STREAM_PAYLOADS));
    let mut flow = Flow::new(UDP, 9_999);
    flow.see(FROM_CLIENT, 0, b"\xc0\x0a\x0a\x0a\x0a\x08 a version of no meaning");
    assert_eq!(flow.conversations.held(), (0, 0));

    let mut old =
        b"\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q025\x01CHLO\x01\0\0\0SNI\0\x05\0\0\0a.org".to_vec();
    let said = [FlowFact::GquicSni("a.org".into()), FlowFact::App(App::Gquic)];
    assert_eq!(flow.see(FROM_CLIENT, 0, &old), said.map(Finding::Flow));
    old[9] = b'R';
    assert_eq!(flow.see(FROM_CLIENT, 0, &old), []);
}
