//! What the formats of other programs take of a record, by the schema's names: those who write
//! them see no more of ours. One is filled anew for each record, so that its texts keep their
//! memory.

use std::net::IpAddr;

use crate::decode::TunnelPorts;
use crate::export::schema::{Fields, RowDevice, RowTunnel};
use crate::flow::MplsLabels;
use crate::flow::features::{BINS, Thousandths};
use crate::limits::RECORD_VLANS;
use crate::time::Timestamp;

/// Text that may be absent.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    is_there: bool,
}

impl Text {
    fn set(&mut self, value: Option<&str>) {
        self.text.clear();
        self.text.push_str(value.unwrap_or_default());
        self.is_there = value.is_some();
    }

    /// The text, if it is known.
    pub(super) fn get(&self) -> Option<&str> {
        self.is_there.then_some(&self.text)
    }
}

/// What was counted of one side. Absent is not known.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PickedSide {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: Option<u64>,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) packets: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) frame_bytes: Option<u64>,
    pub(super) payload_bytes: Option<u64>,
    pub(super) tcp_flags: Option<u64>,
    pub(super) retransmits: Option<u64>,
    pub(super) zero_windows: Option<u64>,
}

/// A record's fields; what they mean stands in `flowtap schema`.
#[derive(Debug, Default)]
pub(super) struct Picked {
    pub(super) kind: Text,
    pub(super) flow_id: Option<u64>,
    pub(super) part: Option<u64>,
    pub(super) community_id: Text,
    pub(super) interface: Text,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    pub(super) duration_ns: Option<u64>,
    pub(super) protocol: Option<u64>,
    pub(super) dst_prefix_length: Option<u64>,
    pub(super) icmp_type: Option<u64>,
    pub(super) icmp_code: Option<u64>,
    pub(super) vlan: Option<[u16; RECORD_VLANS]>,
    pub(super) tunnel: Option<RowTunnel>,
    pub(super) src: PickedSide,
    pub(super) dst: PickedSide,
    pub(super) tcp_state: Text,
    pub(super) end_reason: Text,
    pub(super) app: Text,
    pub(super) app_source: Text,
    pub(super) sni: Text,
    pub(super) alpn: Text,
    pub(super) ja4: Text,
    pub(super) tls_version: Text,
    pub(super) cert_subject: Text,
    pub(super) http_host: Text,
    pub(super) http_user_agent: Text,
    pub(super) name: Text,
    pub(super) name_source: Text,
}

/// Whether a flow of this protocol, between these ports, may be a tunnel's.
pub(super) fn may_be_tunnel(protocol: Option<u64>, ports: [Option<u64>; 2]) -> bool {
    let protocol = protocol.and_then(|protocol| u8::try_from(protocol).ok());
    let port = |port: Option<u64>| port.and_then(|port| u16::try_from(port).ok());
    let ports = ports.map(|of| port(of).unwrap_or_default());
    protocol.is_some_and(|protocol| TunnelPorts::default().may_carry(protocol, ports))
}

impl Picked {
    /// Whether it is an aggregate of packets for which there was no room.
    pub(super) fn is_overflow(&self) -> bool {
        self.kind.get() == Some("overflow")
    }

    /// What was seen in it: no more is what its port is for.
    pub(super) fn app_seen(&self) -> Option<&str> {
        self.app.get().filter(|_| self.app_source.get() == Some("payload"))
    }

    /// Whether it is a tunnel's that stays closed: what it has of TLS and HTTP is said inside.
    pub(super) fn is_closed_tunnel(&self) -> bool {
        let has_more = [&self.alpn, &self.ja4, &self.tls_version].iter().any(|text| text.is_there);
        let ports = [self.src.port, self.dst.port];
        self.app_seen().is_none() && !has_more && may_be_tunnel(self.protocol, ports)
    }

    /// Whether it is known that there was QUIC in it: else only over UDP do flows say what TLS says.
    pub(super) fn is_quic(&self) -> bool {
        matches!(self.app_seen(), Some("quic" | "gquic"))
            || self.protocol == Some(17) && self.has_tls()
    }

    /// Whether it is known that there was TLS in it, in QUIC or not.
    pub(super) fn has_tls(&self) -> bool {
        let said = [&self.sni, &self.alpn, &self.ja4, &self.tls_version];
        said.iter().any(|text| text.is_there) && !self.is_closed_tunnel()
    }

    /// Whether it is known that there was HTTP in it.
    pub(super) fn has_http(&self) -> bool {
        let said = [&self.http_host, &self.http_user_agent];
        said.iter().any(|text| text.is_there) && !self.is_closed_tunnel()
    }

    #[inline(always)]
    fn text_of(&mut self, name: &str) -> Option<&mut Text> {
        Some(match name {
            "kind" => &mut self.kind,
            "community_id" => &mut self.community_id,
            "interface" => &mut self.interface,
            "tcp_state" => &mut self.tcp_state,
            "end_reason" => &mut self.end_reason,
            "app" => &mut self.app,
            "app_source" => &mut self.app_source,
            "sni" => &mut self.sni,
            "alpn" => &mut self.alpn,
            "ja4" => &mut self.ja4,
            "tls_version" => &mut self.tls_version,
            "cert_subject" => &mut self.cert_subject,
            "http_host" => &mut self.http_host,
            "http_user_agent" => &mut self.http_user_agent,
            "name" => &mut self.name,
            "name_source" => &mut self.name_source,
            _ => return None,
        })
    }

    #[inline(always)]
    fn number_of(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "part" => &mut self.part,
            "duration_ns" => &mut self.duration_ns,
            "protocol" => &mut self.protocol,
            "dst_prefix_length" => &mut self.dst_prefix_length,
            "icmp_type" => &mut self.icmp_type,
            "icmp_code" => &mut self.icmp_code,
            "src_port" => &mut self.src.port,
            "dst_port" => &mut self.dst.port,
            "src_packets" => &mut self.src.packets,
            "dst_packets" => &mut self.dst.packets,
            "src_bytes" => &mut self.src.bytes,
            "dst_bytes" => &mut self.dst.bytes,
            "src_frame_bytes" => &mut self.src.frame_bytes,
            "dst_frame_bytes" => &mut self.dst.frame_bytes,
            "src_payload_bytes" => &mut self.src.payload_bytes,
            "dst_payload_bytes" => &mut self.dst.payload_bytes,
            "src_tcp_flags" => &mut self.src.tcp_flags,
            "dst_tcp_flags" => &mut self.dst.tcp_flags,
            "src_retransmits" => &mut self.src.retransmits,
            "dst_retransmits" => &mut self.dst.retransmits,
            "src_zero_windows" => &mut self.src.zero_windows,
            "dst_zero_windows" => &mut self.dst.zero_windows,
            _ => return None,
        })
    }
}

/// Names are known when this is compiled, so that to look for a field costs nothing.
impl Fields for Picked {
    #[inline(always)]
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(number) = self.number_of(name) {
            *number = value;
        }
    }

    #[inline(always)]
    fn word(&mut self, name: &'static str, value: Option<u64>) {
        if name == "flow_id" {
            self.flow_id = value;
        }
    }

    fn flag(&mut self, _: &'static str, _: Option<bool>) {}

    #[inline(always)]
    fn plain(&mut self, name: &'static str, value: Option<&str>) {
        self.text(name, value);
    }

    #[inline(always)]
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(text) = self.text_of(name) {
            text.set(value);
        }
    }

    #[inline(always)]
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        match name {
            "src_mac" => self.src.mac = value,
            "dst_mac" => self.dst.mac = value,
            _ => {}
        }
    }

    #[inline(always)]
    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        match name {
            "src_ip" => self.src.ip = value,
            "dst_ip" => self.dst.ip = value,
            _ => {}
        }
    }

    #[inline(always)]
    fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        match name {
            "start" => self.start = value,
            "end" => self.end = value,
            _ => {}
        }
    }

    #[inline(always)]
    fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>) {
        if name == "vlan" {
            self.vlan = value;
        }
    }

    #[inline(always)]
    fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>) {
        if name == "tunnel" {
            self.tunnel = value;
        }
    }

    fn device(&mut self, _: &'static str, _: Option<RowDevice<'_>>) {}

    fn mpls(&mut self, _: &'static str, _: Option<MplsLabels>) {}

    fn decimal(&mut self, _: &'static str, _: Option<Thousandths>) {}

    fn counts(&mut self, _: &'static str, _: Option<[u64; BINS]>) {}
}
