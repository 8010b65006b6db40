//! Which frames count: pcap-filter expressions, as tcpdump takes them.

pub mod cbpf;
