//! A record as a struct whose encoder serde derives, and ready columns of records: what rivals are
//! fed, made before the clock runs.

use std::fmt::Display;
use std::io::Cursor;
use std::net::IpAddr;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use flowtap::export::schema::{Fields, Row, RowDevice, RowTunnel, visit};
use flowtap::export::{Format, Rows, SinkOptions};
use flowtap::flow::features::{BINS, Thousandths};
use flowtap::flow::{FeaturesSet, MplsLabels};
use flowtap::limits::RECORD_VLANS;
use flowtap::time::Timestamp;
use serde::{Serialize, Serializer};

/// Shown as text that needs no memory of its own.
pub(crate) struct Shown<T>(T);

impl Serialize for Shown<Word> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:016x}", self.0.0))
    }
}

impl Serialize for Shown<[u8; 6]> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d, e, f] = self.0;
        to.collect_str(&format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    }
}

impl Serialize for Shown<jiff::Timestamp> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let shown: &dyn Display = &format_args!("{:.9}", self.0);
        to.collect_str(shown)
    }
}

/// Sixteen hexadecimal digits.
pub(crate) struct Word(u64);

/// The struct, its fields by their types.
macro_rules! flow {
    ($($of:ty { $($name:ident)* })*) => {
        #[derive(Default, Serialize)]
        pub(crate) struct Flow {
            $($(
                #[serde(skip_serializing_if = "Option::is_none")]
                $name: Option<$of>,
            )*)*
        }

        trait Put<T> {
            fn put(&mut self, name: &str, value: Option<T>);
        }

        $(
            impl Put<$of> for Flow {
                fn put(&mut self, name: &str, value: Option<$of>) {
                    match name {
                        $(stringify!($name) => self.$name = value,)*
                        _ => assert!(value.is_none(), "{name} is missing"),
                    }
                }
            }
        )*
    };
}

flow! {
    String {
        kind community_id interface tcp_state end_reason app app_source
        sni alpn ja4 tls_version tls_cipher cert_subject
        cert_name http_host http_user_agent name name_source name_doubt sampling_unit
    }
    bool { ech }
    Shown<Word> { flow_id }
    Shown<jiff::Timestamp> { start end }
    IpAddr { src_ip dst_ip }
    Shown<[u8; 6]> { src_mac dst_mac }
    Vec<u16> { vlan }
    u64 {
        part duration_ns ip_version protocol dst_prefix_length src_port dst_port icmp_type icmp_code
        src_packets dst_packets src_bytes dst_bytes src_frame_bytes dst_frame_bytes
        src_payload_bytes dst_payload_bytes src_fragments dst_fragments src_tcp_flags
        dst_tcp_flags rtt_server_ns rtt_client_ns src_retransmits src_out_of_order
        src_zero_windows dst_retransmits dst_out_of_order dst_zero_windows src_ttl_min
        src_ttl_max dst_ttl_min dst_ttl_max src_dscp dst_dscp name_age_ns sampling
    }
}

impl From<&Row<'_>> for Flow {
    fn from(row: &Row<'_>) -> Self {
        let mut flow = Self::default();
        visit(row, &mut flow);
        flow
    }
}

impl Fields for Flow {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        self.put(name, value);
    }
    fn word(&mut self, name: &'static str, value: Option<u64>) {
        self.put(name, value.map(|word| Shown(Word(word))));
    }
    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        self.put(name, value);
    }
    fn plain(&mut self, name: &'static str, value: Option<&str>) {
        self.put(name, value.map(str::to_owned));
    }
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.put(name, value.map(str::to_owned));
    }
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        self.put(name, value.map(Shown));
    }
    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        self.put(name, value);
    }
    fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        let time = |ns: Timestamp| jiff::Timestamp::from_nanosecond(ns.into());
        let time = value.map(|ns| Shown(time(ns).expect("64 bits of nanoseconds are a time")));
        self.put(name, time);
    }
    fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>) {
        self.put(name, value.map(|device| Shown(device.mac)));
    }
    fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>) {
        self.put(name, value.map(|vlans| vlans.to_vec()));
    }
    fn mpls(&mut self, _: &'static str, value: Option<MplsLabels>) {
        assert!(value.is_none(), "the records have none");
    }
    fn decimal(&mut self, _: &'static str, value: Option<Thousandths>) {
        assert!(value.is_none(), "the records have none");
    }
    fn counts(&mut self, _: &'static str, value: Option<[u64; BINS]>) {
        assert!(value.is_none(), "the records have none");
    }
    fn tunnel(&mut self, _: &'static str, value: Option<RowTunnel>) {
        assert!(value.is_none(), "the records have none");
    }
}

/// The columns of records, as Arrow's own reader has them.
pub(crate) fn columns(rows: &Rows<'_>) -> Vec<RecordBatch> {
    let mut encoder = Format::Arrow.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let mut file = Vec::new();
    encoder.begin(&mut file);
    encoder.encode(rows, &mut file);
    encoder.end(&mut file);
    let reader = FileReader::try_new(Cursor::new(file), None).expect("it is an Arrow file");
    reader.map(|batch| batch.expect("it is whole")).collect()
}
