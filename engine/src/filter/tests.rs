//! Expressions and frames in, verdicts out; and our interpreter beside libpcap's.

use proptest::prelude::*;

use super::cbpf::Instruction;
use super::cbpf::code::*;
use super::*;

/// An Ethernet frame with a UDP datagram over IPv4 from 192.0.2.1 port 53 to 10.0.0.9 port 4000.
const DNS: [u8; 44] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
    0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 10, 0, 0, 9, // IPv4
    0, 53, 0x0f, 0xa0, 0, 10, 0, 0, 7, 8, // UDP
];

fn frame(bytes: &[u8], link: LinkType) -> Frame<'_> {
    Frame { bytes, wire_len: 1_000, timestamp: None, link }
}

/// Holds the verdict on a frame against what is wanted, and against libpcap's.
fn check(expression: &str, frame: &Frame<'_>, want: bool) {
    let filter = Filter::new(expression).unwrap();
    let compiled = filter.for_link(frame.link, "a test").unwrap();
    assert_eq!(compiled.accepts(frame), want, "{expression}");
    assert_eq!(filter.accepts_by_libpcap(&compiled, frame), want, "{expression}, libpcap");
    let mut any = AnyLinkFilter::new(&filter);
    for _ in 0..2 {
        assert_eq!(any.accepts(frame, "a test"), Ok(want), "{expression}, again");
    }
}

#[test]
fn expressions_mean_what_they_say() {
    let dns = frame(&DNS, LinkType::ETHERNET);
    for (expression, want) in [
        ("", true),
        ("udp port 53", true),
        ("tcp port 53", false),
        ("src host 192.0.2.1 and dst net 10.0.0.0/8", true),
        ("not (udp or tcp)", false),
        ("udp[8] + udp[9] == 15", true),
        ("ether src 2:0:0:0:0:2", true),
        // The length on the wire, and not the captured one.
        ("len == 1000", true),
        ("less 999", false),
        // Outside of what was captured: rejected, also where that is denied.
        ("udp[10] == 0", false),
        ("not udp[10] == 0", false),
        ("ip6 protochain 17", false),
    ] {
        check(expression, &dns, want);
    }
}

#[test]
fn each_link_type_has_a_program_of_its_own() {
    let packet = &DNS[14..];
    let families = [2_u32.to_le_bytes(), 2_u32.to_be_bytes()];
    let loopbacks = families.map(|family| [&family[..], packet].concat());
    check("src port 53", &frame(packet, LinkType::RAW), true);
    check("src port 53", &frame(packet, LinkType::IPV4), true);
    // Of machines of both byte orders.
    check("src port 53", &frame(&loopbacks[0], LinkType::NULL), true);
    check("src port 53", &frame(&loopbacks[1], LinkType::NULL), true);
    check("src port 53", &frame(&loopbacks[1], LinkType::LOOP), true);
    check("src port 53", &frame(&loopbacks[0], LinkType::LOOP), false);
}

#[test]
fn what_libpcap_refuses_is_refused_in_its_words() {
    for (expression, words) in [
        ("tcp prot 80", "syntax error"),
        ("tcp port 80 and", "syntax error"),
        ("host 1.2.3.4.5.6", "1.2.3.4"),
        ("tcp dst port 99999", "99999"),
        ("ip broadcast", "netmask"),
    ] {
        let error = Filter::new(expression).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--filter '{expression}': ")), "{error}");
        assert!(error.contains(words) && error.ends_with("see pcap-filter(7)"), "{error}");
    }
    assert!(Filter::new("a\0b").is_err());
}

#[test]
fn an_expression_may_not_suit_a_link_type() {
    for (expression, link, words) in [
        ("ether host 2:0:0:0:0:1", LinkType::RAW, ["101 (RAW)", "ethernet addresses"]),
        ("wlan type data", LinkType::ETHERNET, ["1 (EN10MB)", "802.11"]),
        // Only the kernel could tell.
        ("inbound", LinkType::ETHERNET, ["1 (EN10MB)", "not supported"]),
        ("tcp", LinkType(60_000), ["60000", "60000"]),
    ] {
        let filter = Filter::new(expression).unwrap();
        let error = filter.for_link(link, "x.pcap").unwrap_err().to_string();
        assert!(error.contains("x.pcap"), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        let other = frame(&[], link);
        assert!(AnyLinkFilter::new(&filter).accepts(&other, "x.pcap").is_err());
    }
}

#[test]
fn a_missing_library_is_told_with_its_package() {
    let error = Libpcap::load(&["libpcap.so.no-such"]).err().expect("there is none");
    let error = error.to_string();
    assert!(error.contains("libpcap.so.no-such") && error.contains("libpcap0.8t64"), "{error}");
}

#[test]
fn a_filter_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Filter>();
    shared::<LinkFilter>();
}

/// Any instruction that does not return, in a program of `len` of them at most: loads and masks
/// that fit a short frame, and jumps that may be cut to the end.
fn instruction(len: u8) -> impl Strategy<Value = Instruction> {
    const CODES: [u16; 46] = [
        LD_W_ABS,
        LD_H_ABS,
        LD_B_ABS,
        LD_W_IND,
        LD_H_IND,
        LD_B_IND,
        LD_W_LEN,
        LD_IMM,
        LD_MEM,
        LDX_MSH,
        LDX_W_LEN,
        LDX_IMM,
        LDX_MEM,
        ST,
        STX,
        JEQ_K,
        JGT_K,
        JGE_K,
        JSET_K,
        JEQ_X,
        JGT_X,
        JGE_X,
        JSET_X,
        JA,
        TAX,
        TXA,
        NEG,
        ADD,
        SUB,
        MUL,
        DIV,
        MOD,
        AND,
        OR,
        XOR,
        LSH,
        RSH,
        ADD | X,
        SUB | X,
        MUL | X,
        DIV | X,
        MOD | X,
        AND | X,
        OR | X,
        LSH | X,
        RSH | X,
    ];
    let k = prop_oneof![8 => 0_u32..16, 2 => 0_u32..60, 1 => any::<u32>()];
    (prop::sample::select(&CODES[..]), 0..len, 0..len, k).prop_map(move |(code, jt, jf, k)| {
        let k = match code {
            LD_MEM | LDX_MEM | ST | STX => k % 16,
            DIV | MOD => k.max(1),
            LSH | RSH => k % 32,
            JA => k % u32::from(len),
            _ => k,
        };
        Instruction { code, jt, jf, k }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// Ours says what libpcap's interpreter says, of any program and any frame.
    #[test]
    fn both_interpreters_agree(
        body in prop::collection::vec(instruction(6), 0..24),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        wire_len in 0_u32..2_000,
    ) {
        // Older versions of libpcap begin with any values in the scratch memory.
        let start = (0..16).map(|k| Instruction { code: ST, jt: 0, jf: 0, k });
        // As many returns as any jump may go too far; that of A last.
        let end = [RET_K, RET_K, RET_K, RET_K, RET_K, RET_A, RET_A];
        let end = end.iter().zip([0, 1, 1, 0, 1, 0, 0]);
        let end = end.map(|(&code, k)| Instruction { code, jt: 0, jf: 0, k });
        let program = Program::verify(start.chain(body).chain(end).collect()).unwrap();
        let compiled = LinkFilter { own: program, swapped: None };
        let frame = Frame { wire_len, ..frame(&bytes, LinkType::ETHERNET) };
        let theirs = FILTER.with(|filter| filter.accepts_by_libpcap(&compiled, &frame));
        prop_assert_eq!(compiled.accepts(&frame), theirs);
    }
}

std::thread_local! {
    /// Loaded once for all cases.
    static FILTER: Filter = Filter::new("").unwrap();
}
