//! What ports are for: well-known services by the names that the IANA has for them
//! (<https://www.iana.org/assignments/service-names-port-numbers>). Where payloads show what it is
//! too, the name is the same as then: `dns`, `dhcp`, `dhcpv6`, `nbns`.

use crate::flow::protocol;

/// The transport protocols of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Tcp,
    Udp,
    Both,
    Sctp,
}

impl Over {
    fn has(self, protocol: u8) -> bool {
        match protocol {
            protocol::TCP => matches!(self, Self::Tcp | Self::Both),
            protocol::UDP | protocol::UDP_LITE => matches!(self, Self::Udp | Self::Both),
            protocol::SCTP => self == Self::Sctp,
            _ => false,
        }
    }
}

/// Ports below this are for services: no client takes one for itself.
const SYSTEM_PORTS: u16 = 1_024;

/// In the order of their ports.
#[rustfmt::skip]
const SERVICES: &[(u16, Over, &str)] = {
    use Over::{Both as B, Sctp as S, Tcp as T, Udp as U};
    &[
        (7, B, "echo"), (9, B, "discard"), (11, B, "systat"), (13, B, "daytime"),
        (17, B, "qotd"), (19, B, "chargen"), (20, T, "ftp-data"), (21, T, "ftp"),
        (22, T, "ssh"), (23, T, "telnet"), (25, T, "smtp"), (37, B, "time"),
        (43, T, "nicname"), (49, B, "tacacs"), (53, B, "dns"), (67, U, "dhcp"),
        (68, U, "dhcp"), (69, U, "tftp"), (70, T, "gopher"), (79, T, "finger"),
        (80, T, "http"), (88, B, "kerberos"), (102, T, "iso-tsap"), (104, T, "acr-nema"),
        (110, T, "pop3"), (111, B, "sunrpc"), (113, T, "auth"), (119, T, "nntp"),
        (123, U, "ntp"), (135, T, "epmap"), (137, U, "nbns"), (138, U, "netbios-dgm"),
        (139, T, "netbios-ssn"), (143, T, "imap"), (161, B, "snmp"), (162, B, "snmptrap"),
        (177, U, "xdmcp"), (179, T, "bgp"), (194, T, "irc"), (319, U, "ptp-event"),
        (320, U, "ptp-general"), (389, B, "ldap"), (427, B, "svrloc"), (443, B, "https"),
        (445, T, "microsoft-ds"), (464, B, "kpasswd"), (465, T, "submissions"),
        (500, U, "isakmp"), (502, T, "mbap"), (512, T, "exec"), (513, T, "login"),
        (513, U, "who"), (514, T, "shell"), (514, U, "syslog"), (515, T, "printer"),
        (517, U, "talk"), (518, U, "ntalk"), (520, U, "router"), (521, U, "ripng"),
        (546, U, "dhcpv6"), (547, U, "dhcpv6"), (548, T, "afpovertcp"), (554, B, "rtsp"),
        (563, T, "nntps"), (587, T, "submission"), (623, U, "asf-rmcp"), (631, T, "ipp"),
        (636, T, "ldaps"), (646, B, "ldp"), (647, T, "dhcp-failover"),
        (749, T, "kerberos-adm"), (830, T, "netconf-ssh"), (853, B, "domain-s"),
        (873, T, "rsync"), (989, T, "ftps-data"), (990, T, "ftps"), (992, T, "telnets"),
        (993, T, "imaps"), (995, T, "pop3s"), (1_080, T, "socks"), (1_099, T, "rmiregistry"),
        (1_194, B, "openvpn"), (1_433, T, "ms-sql-s"), (1_434, U, "ms-sql-m"),
        (1_701, U, "l2tp"), (1_723, T, "pptp"), (1_812, U, "radius"),
        (1_813, U, "radius-acct"), (1_883, T, "mqtt"), (1_900, U, "ssdp"), (1_985, U, "hsrp"),
        (2_000, T, "cisco-sccp"), (2_049, B, "nfs"), (2_123, U, "gtp-control"),
        (2_152, U, "gtp-user"), (2_375, T, "docker"), (2_376, T, "docker-s"),
        (2_379, T, "etcd-client"), (2_380, T, "etcd-server"), (2_404, T, "iec-104"),
        (2_905, S, "m3ua"), (3_260, T, "iscsi-target"), (3_306, T, "mysql"),
        (3_389, B, "ms-wbt-server"), (3_478, B, "stun"), (3_493, B, "nut"),
        (3_544, U, "teredo"), (3_690, T, "svn"), (3_702, U, "ws-discovery"),
        (3_784, U, "bfd-control"), (3_785, U, "bfd-echo"), (3_868, T, "diameter"),
        (3_868, S, "diameter"), (4_369, T, "epmd"), (4_460, T, "ntske"),
        (4_500, U, "ipsec-nat-t"), (4_569, U, "iax"), (4_739, B, "ipfix"), (4_739, S, "ipfix"),
        (4_740, B, "ipfixs"), (4_789, U, "vxlan"), (4_840, T, "opcua-tcp"), (5_060, B, "sip"),
        (5_060, S, "sip"), (5_061, T, "sips"), (5_061, S, "sips"), (5_222, T, "xmpp-client"),
        (5_246, U, "capwap-control"), (5_247, U, "capwap-data"), (5_269, T, "xmpp-server"),
        (5_353, U, "mdns"), (5_355, B, "llmnr"), (5_432, T, "postgresql"),
        (5_671, T, "amqps"), (5_672, T, "amqp"), (5_672, S, "amqp"), (5_683, B, "coap"),
        (5_684, B, "coaps"), (5_900, T, "rfb"), (5_985, T, "wsman"), (5_986, T, "wsmans"),
        (6_000, T, "x11"), (6_081, U, "geneve"), (6_343, B, "sflow"),
        (6_346, B, "gnutella-svc"), (6_379, T, "redis"), (6_514, T, "syslog-tls"),
        (6_697, T, "ircs-u"), (8_080, T, "http-alt"), (8_443, T, "pcsync-https"),
        (8_805, U, "pfcp"), (8_883, T, "secure-mqtt"), (9_418, T, "git"),
        (10_050, T, "zabbix-agent"), (10_051, T, "zabbix-trapper"), (10_809, T, "nbd"),
        (11_112, T, "dicom"), (11_211, B, "memcache"), (17_500, B, "db-lsp"),
        (29_118, S, "sgsap"), (36_412, S, "s1-control"), (36_422, S, "x2-control"),
        (38_412, S, "ng-control"), (47_808, U, "bacnet"),
    ]
};

/// The service that a flow between these ports, the initiator's and the responder's, is for: by
/// the responder's, or else by the initiator's if that is a system port (RFC 6335 section 6), as
/// where what was seen first was an answer.
#[must_use]
pub fn by_ports(protocol: u8, [src, dst]: [u16; 2]) -> Option<&'static str> {
    let src = Some(src).filter(|&port| port < SYSTEM_PORTS);
    by_port(protocol, dst).or_else(|| by_port(protocol, src?))
}

fn by_port(protocol: u8, port: u16) -> Option<&'static str> {
    let first = SERVICES.partition_point(|(its, ..)| *its < port);
    let its = SERVICES[first..].iter().take_while(|(its, ..)| *its == port);
    its.filter(|(_, over, _)| over.has(protocol)).map(|(.., name)| *name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_in_order_and_named_once() {
        for two in SERVICES.windows(2) {
            let [(one, over, name), (other, other_over, _)] = two else { unreachable!() };
            assert!(one < other || one == other && over != other_over, "{name} {one}");
        }
        assert!(SERVICES.iter().all(|(.., name)| name.len() <= 15), "RFC 6335 section 5.1");
    }

    #[test]
    fn the_responder_comes_first() {
        let (tcp, udp) = (protocol::TCP, protocol::UDP);
        assert_eq!(by_ports(tcp, [40_000, 443]), Some("https"));
        assert_eq!(by_ports(tcp, [22, 443]), Some("https"));
        assert_eq!(by_ports(tcp, [443, 40_000]), Some("https"), "an answer came first");
        assert_eq!(by_ports(tcp, [3_306, 40_000]), None, "a client may have any such port");
        assert_eq!(by_ports(udp, [40_000, 514]), Some("syslog"));
        assert_eq!(by_ports(tcp, [40_000, 514]), Some("shell"));
        assert_eq!(by_ports(protocol::SCTP, [1, 38_412]), Some("ng-control"));
        assert_eq!(by_ports(protocol::DCCP, [40_000, 443]), None);
        assert_eq!(by_ports(udp, [0, 0]), None);
        assert_eq!(by_ports(udp, [u16::MAX, u16::MAX]), None);
    }

    /// The system's list of services (package netbase), where it knows the port, has the same name
    /// for it, or an alias.
    #[test]
    fn names_are_those_of_the_system() {
        let Ok(list) = std::fs::read_to_string("/etc/services") else {
            let reason =
                "names of services: cannot run: there is no /etc/services; install netbase";
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            eprintln!("\n*** NOT RUN *** {reason}\n");
            return;
        };
        // Of these the names are those that payloads give; and of one the IANA's is another.
        let own = [53, 67, 68, 137, 546, 547, 5_061];
        let mut known = 0;
        for line in list.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let (port, protocol) = port.split_once('/').unwrap();
            let protocol = match protocol {
                "tcp" => protocol::TCP,
                "udp" => protocol::UDP,
                _ => continue,
            };
            let port = port.parse().unwrap();
            if let Some(ours) = by_port(protocol, port).filter(|_| !own.contains(&port)) {
                known += 1;
                assert!(name == ours || words.any(|alias| alias == ours), "{line} is not {ours}");
            }
        }
        assert!(known > 80, "{known}");
    }
}
