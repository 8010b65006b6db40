//! Where other programs' formats have our fields: words for `flowtap schema`.

/// Field (`*` stands for `src` and `dst`), and for each of these two what the column of Zeek's
/// `conn.log` and the member of a Suricata event are called.
type Names = (&'static str, [&'static str; 2], [&'static str; 2]);

const NAMES: &[Names] = &[
    ("kind", same(""), same("flowtap.kind")),
    ("flow_id", same("uid (C and the digits)"), same("flow_id (its lower 53 bits)")),
    ("part", same("part"), same("flowtap.part")),
    ("community_id", same("community_id"), same("community_id")),
    ("interface", same(""), same("in_iface")),
    ("start", same("ts"), same("flow.start")),
    ("end", same(""), same("flow.end, timestamp")),
    ("duration_ns", same("duration"), same("flow.age (whole seconds)")),
    ("protocol", same("proto, ip_proto"), same("proto")),
    ("*_ip", ["id.orig_h", "id.resp_h"], ["src_ip", "dest_ip"]),
    ("dst_prefix_length", same(""), same("flowtap.dst_prefix_length")),
    ("*_port", ["id.orig_p", "id.resp_p"], ["src_port", "dest_port"]),
    ("icmp_type", same("id.orig_p"), same("icmp_type")),
    ("icmp_code", same("id.resp_p"), same("icmp_code")),
    ("*_mac", ["orig_l2_addr", "resp_l2_addr"], ["ether.src_macs", "ether.dest_macs"]),
    ("vlan", same("vlan, inner_vlan"), same("vlan")),
    ("tunnel", same(""), same("tunnel")),
    ("*_packets", ["orig_pkts", "resp_pkts"], ["flow.pkts_toserver", "flow.pkts_toclient"]),
    ("*_bytes", ["orig_ip_bytes", "resp_ip_bytes"], ["", ""]),
    ("*_frame_bytes", ["", ""], ["flow.bytes_toserver", "flow.bytes_toclient"]),
    ("*_payload_bytes", ["orig_bytes, history (D)", "resp_bytes, history (d)"], ["", ""]),
    (
        "*_tcp_flags",
        ["conn_state, history (S, F, R)", "conn_state, history (h, f, r)"],
        ["tcp.tcp_flags_ts (hex)", "tcp.tcp_flags_tc (hex)"],
    ),
    ("tcp_state", same("conn_state"), same("flow.state, tcp.state")),
    ("*_retransmits", ["history (T)", "history (t)"], ["", ""]),
    ("*_zero_windows", ["history (W)", "history (w)"], ["", ""]),
    ("end_reason", same(""), same("flow.reason, flowtap.end_reason")),
    ("app", same("service"), same("app_proto, app_proto_orig")),
    ("sni", same("service"), same("tls.sni, quic.sni, app_proto")),
    ("alpn", same("service"), same("app_proto")),
    ("ja4", same("service"), same("tls.ja4, quic.ja4, app_proto")),
    ("tls_version", same("service"), same("tls.version, app_proto")),
    ("cert_subject", same(""), same("tls.subject")),
    ("http_host", same("service"), same("http.hostname, app_proto")),
    ("http_user_agent", same(""), same("http.http_user_agent")),
    ("name", same("resp_name"), same("flowtap.name")),
    ("name_source", same("resp_name_source"), same("flowtap.name_source")),
];

const fn same(name: &'static str) -> [&'static str; 2] {
    [name, name]
}

/// What Zeek and Suricata call a field of ours, if they have it.
pub(super) fn names_of(field: &str) -> [Option<&'static str>; 2] {
    let side = usize::from(field.starts_with("dst_"));
    let plain = field.strip_prefix("src_").or_else(|| field.strip_prefix("dst_"));
    let is_of = |pattern: &str| match pattern.strip_prefix("*_") {
        Some(pattern) => plain == Some(pattern),
        None => pattern == field,
    };
    let names = NAMES.iter().find(|(pattern, ..)| is_of(pattern));
    let named = |names: &[&'static str; 2]| Some(names[side]).filter(|name| !name.is_empty());
    names.map_or([None; 2], |(_, zeek, eve)| [named(zeek), named(eve)])
}
