//! Expressions and what the kernel is to keep, in words; and those of which it decides nothing.

use super::*;

fn check(expression: &str, want: Option<&str>) {
    let found = of(expression).map(|filter| filter.to_string());
    assert_eq!(found.as_deref(), want, "'{expression}'");
    // What is read here in one way must not be read in another there.
    let filter = super::super::Filter::new(expression).map(|_| ());
    assert_eq!(filter, Ok(()), "'{expression}'");
}

#[test]
fn terms_that_are_sure_go_into_the_kernel() {
    for (expression, want) in [
        ("tcp", "protocol 6"),
        ("icmp6 or igmp", "protocol 58 or 2"),
        ("ip proto 47", "from or to 0.0.0.0/0, protocol 47"),
        ("proto 6", "protocol 6"),
        ("ip", "from or to 0.0.0.0/0"),
        ("ip6", "from or to ::/0"),
        ("host 10.0.0.1", "from or to 10.0.0.1/32"),
        ("src 10.0.0.1", "from 10.0.0.1/32"),
        ("ip6 dst host 2001:db8::1", "to 2001:db8::1/128"),
        ("dst net 10.0.0.0/8 or src net fd00::/8", "to 10.0.0.0/8 or from fd00::/8"),
        ("port 53", "port 53"),
        ("tcp dst port 443", "to port 443, protocol 6"),
        ("udp src portrange 0-1023", "from port 0-1023, protocol 17"),
        ("sctp port 7", "port 7, protocol 132"),
        (
            "  tcp\tport 80 &&(host 10.0.0.1||host 10.0.0.2 )",
            "from or to 10.0.0.1/32 or 10.0.0.2/32, port 80, protocol 6",
        ),
        // Of a kind the narrower one.
        ("host 10.0.0.1 and net 10.0.0.0/8 and ip", "from or to 10.0.0.1/32"),
        ("portrange 1-1000 and port 80", "port 80"),
        ("(tcp or udp) and tcp", "protocol 6"),
        // Kinds are taken apart, and only what all have is asked for.
        ("tcp port 80 or udp port 53", "port 80 or 53, protocol 6 or 17"),
        ("tcp port 80 or udp", "protocol 6 or 17"),
        ("tcp port 80 or tcp port 443 or port 80 and tcp", "port 80 or 443, protocol 6"),
        ("(tcp and host 10.0.0.1) or port 53 and udp", "protocol 17"),
        // From the left, whatever is beside it.
        ("tcp or udp and port 53", "port 53, protocol 6 or 17"),
        // What is denied, where nothing is asked for.
        ("not tcp", "all but protocol 6"),
        ("not port 22", "all but port 22, protocol 6 or 17 or 132"),
        ("not tcp dst portrange 80-90", "all but to port 80-90, protocol 6"),
        ("not icmp6", "all but from or to ::/0, protocol 58"),
        ("not (host 10.0.0.1 and port 80)", {
            "all but from or to 10.0.0.1/32, port 80, protocol 6 or 17 or 132"
        }),
        ("not net 10.0.0.0/8 and not src host fd00::1", {
            "all but from or to 10.0.0.0/8 or from fd00::1/128"
        }),
        ("not (host 10.0.0.1 or host 10.0.0.2)", "all but from or to 10.0.0.1/32 or 10.0.0.2/32"),
        ("not (port 22 or port 80) and not port 443", {
            "all but port 22 or 80 or 443, protocol 6 or 17 or 132"
        }),
        ("not (tcp or udp) and !icmp", "all but protocol 6 or 17"),
        ("not port 22 and not tcp port 22", "all but port 22, protocol 6 or 17 or 132"),
        ("not (port 80 and tcp)", "all but port 80, protocol 6"),
        ("not not not udp", "all but protocol 17"),
        ("not (tcp port 80 or udp port 53)", "all but port 80, protocol 6"),
        ("not tcp or not (tcp or udp)", "all but protocol 6"),
        ("not tcp or not port 22", "all but port 22, protocol 6"),
        // It asks for nothing beside what is asked for.
        ("tcp port 443 and not net 10.0.0.0/8", "port 443, protocol 6"),
        ("udp and !(port 53 or port 5353)", "protocol 17"),
        ("not not tcp and udp", "protocol 17"),
    ] {
        check(expression, Some(want));
    }
}

#[test]
fn of_what_is_not_sure_the_kernel_decides_nothing() {
    for expression in [
        "",
        "tcp or not udp",
        "not (tcp and udp)",
        "tcp port 80 or host 10.0.0.1",
        // Tags, tunnels, and headers one by one, which change what comes behind.
        "vlan and tcp",
        "tcp or vlan",
        "mpls and host 10.0.0.1",
        "ip6 protochain 6 and tcp",
        // Looks at ARP and links.
        "arp",
        "ether host 2:0:0:0:0:1 and tcp",
        "tcp and len > 100",
        "tcp and tcp[13] & 2 != 0",
        "less 100 and tcp",
        // Names and numbers that others resolve.
        "port domain",
        "tcp and port 010",
        "net 10",
        "net 172.16 mask 255.240.0.0",
        "ip proto \\tcp",
        // A value that takes over what is in front of the one before.
        "port 80 or 443",
        "tcp port 80 or 443",
        "src or dst port 53",
        "src and dst host 10.0.0.1",
        // The kernel steps over these.
        "ip6 proto 44",
        "ip proto 51",
        "ah",
        "portrange 90-80",
    ] {
        check(expression, None);
    }
}

#[test]
fn what_is_no_expression_is_none_here_either() {
    for wrong in [
        "tcp and",
        "and tcp",
        "(tcp",
        "tcp)",
        "tcp udp",
        "port",
        "host",
        "src tcp",
        "tcp host 1.2.3.4",
        "port 99999",
        "portrange 1",
        "net 10.0.0.0/33",
        "net 10.0.0.0/",
        "proto 256",
        "ip port 80",
        "icmp port 1",
        "host 1.2.3.4.5",
        "tcp & udp",
        "tcp | udp",
        "TCP",
        "ip6 proto",
        "src proto 6",
        "()",
        "not",
        "tcp \u{e4}",
        "port +80",
    ] {
        assert_eq!(of(wrong), None, "'{wrong}'");
    }
}

#[test]
fn expressions_are_read_within_bounds() {
    let nested = |depth| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(of(&nested(DEPTH - 1)).is_some());
    assert!(of(&nested(DEPTH)).is_none());
    assert!(of(&"(".repeat(1_000_000)).is_none());
    assert!(of(&format!("{}tcp", "not ".repeat(1_000_000))).is_none());
    let many = |count| vec!["host 10.0.0.1"; count].join(" or ");
    assert!(of(&many(KERNEL_FILTER_TERMS)).is_some());
    assert!(of(&many(KERNEL_FILTER_TERMS + 1)).is_none());
}
