//! Fifty-six expressions, for tests that hold what flowtap makes of each against libpcap or
//! tcpdump.

/// What is asked of every capture.
pub(crate) const EXPRESSIONS: [&str; 56] = [
    // Protocols, by name and by number.
    "ip",
    "ip6",
    "arp or rarp",
    "tcp",
    "udp",
    "icmp or icmp6",
    "sctp",
    "ip proto 47 or ip proto \\esp",
    "ip6 proto 44",
    "ether proto 0x88cc",
    "not ip and not ip6",
    "ip proto 4 or ip proto 41",
    // Going from header to header.
    "ip protochain 6",
    "ip6 protochain 17",
    "ip6 protochain \\tcp and not ip6 proto 6",
    // Addresses and networks.
    "host 192.168.1.1",
    "src host 10.0.0.1 or dst host 10.0.0.2",
    "net 192.168.0.0/16",
    "src net 10.0.0.0/8 and not dst net 10.0.0.0/8",
    "ip6 net 2001:db8::/32 or ip6 src net fe80::/10",
    "net 172.16 mask 255.240.0.0",
    "ip multicast or ip6 multicast",
    "ether multicast or ether broadcast",
    "ether host ff:ff:ff:ff:ff:ff",
    "ether src ca:01:0e:88:00:06",
    // Ports.
    "port 53",
    "tcp dst port 443",
    "udp src port 53 or udp dst port 5353",
    "tcp port 80 and (tcp src port 80 or src portrange 1024-65535)",
    "portrange 1-1023",
    "udp portrange 5000-6000",
    "sctp port 7",
    "not port 22 and not port 443",
    "port domain or port https",
    // What stands below.
    "vlan",
    "vlan 13 and vlan 10",
    "vlan and ip",
    "vlan and vlan and udp",
    "mpls",
    "mpls 29 and host 10.34.0.1",
    "pppoed",
    "pppoes and ip6",
    "pppoes and icmp6",
    "llc or stp",
    // Flags and other fields.
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[13] & 4 != 0 or tcp[tcpflags] & tcp-fin != 0",
    "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply",
    "icmp6[0] == 135 or icmp6[0] == 136",
    "ip[6:2] & 0x1fff != 0 or ip[6] & 0x20 != 0",
    "ip[8] < 5 or ip6[7] < 5",
    "udp[4:2] > 100 and udp[4:2] - 8 == ip[2:2] - ((ip[0] & 0xf) << 2) - 8",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[2:2] % 3 == 1 and ip[16] * 256 + ip[17] >= 0x100 ^ ip[18]",
    // Lengths, on the wire and in the frame.
    "len > 1000",
    "less 64 or greater 1500",
    "ether[len - 1] == 0 or link[0:4] != 0 and not ether[60] = 0",
];
