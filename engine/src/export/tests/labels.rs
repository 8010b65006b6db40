//! Names of flows, in all formats; whoever made them.

use serde_json::Value;

use super::{ROWS, tcp_record};
use crate::devices::label::Identity;
use crate::devices::{DeviceLabel, HostNameSource, Sighting};
use crate::export::schema::names;
use crate::export::{Format, Rows, SinkOptions};
use crate::flow::FeaturesSet;
use crate::names::addresses::{AddressName, Doubt};
use crate::names::facts::FlowFacts;
use crate::names::{App, Labels, NameService};
use crate::sync::Arc;

/// A record with names, in one format.
fn labelled(format: Format, facts: FlowFacts, name: Option<AddressName>) -> String {
    let labels = Labels { facts: Some(Arc::new(facts)), name, ..Labels::default() };
    String::from_utf8_lossy(&written(format, labels)).lines().last().unwrap_or_default().to_owned()
}

/// Two records in one format, the second of them with labels.
fn written(format: Format, labels: Labels) -> Vec<u8> {
    let labels = [(1, labels)];
    let records = [tcp_record(), tcp_record()];
    let rows = Rows { records: &records, labels: &labels, ..ROWS };
    let mut encoder = format.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder.encode(&rows, &mut out);
    // Of formats of lines the last one is the record's.
    #[cfg(feature = "columnar")]
    {
        if format == Format::Arrow {
            encoder.end(&mut out);
        }
    }
    out
}

/// A device of a vendor, with a name, as the initiator.
fn device(vendor: &str, hostname: &str) -> Labels {
    let hostname = Some((hostname.into(), HostNameSource::Mdns));
    let identity = Some(Arc::new(Identity { vendor: Some(vendor.into()), hostname }));
    let mac = [0, 0x11, 0x22, 0, 0, 9];
    let src = Some(DeviceLabel { mac, sighting: Sighting::Arp, identity });
    let dst = Some(DeviceLabel { mac: [2; 6], sighting: Sighting::Arp, identity: None });
    Labels { devices: [src, dst], ..Labels::default() }
}

#[test]
fn devices_with_what_is_known_of_them() {
    let text = |format, labels| String::from_utf8(written(format, labels)).unwrap();
    let json = text(Format::JsonLines, device("Acme", "pc.local"));
    let want = concat!(
        r#""src_device":{"mac":"00:11:22:00:00:09","vendor":"Acme","hostname":"pc.local","#,
        r#""source":"mdns"},"dst_device":{"mac":"02:02:02:02:02:02","source":"arp"}}"#,
    );
    assert!(json.trim_end().ends_with(want), "{json}");
    let csv = text(Format::Csv, device("Acme; \"Sons\"", "pc.local"));
    let line = csv.lines().last().unwrap();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    let column = |name| names(FeaturesSet::Basic).iter().position(|its| *its == name).unwrap();
    let want = r#"00:11:22:00:00:09;Acme\u{3b} "Sons";pc.local;mdns"#;
    assert_eq!(&row[column("src_device")], want);
    assert_eq!(&row[column("dst_device")], "02:02:02:02:02:02;;;arp");
}

/// Columns hold text as it came, in a struct that is absent where there is no device.
#[cfg(feature = "columnar")]
#[test]
fn devices_in_columns_are_structs() {
    use arrow_array::{Array, StringArray, StructArray};
    let name = "=1+2;\u{1b}[31m\u{202e}";
    let file = written(Format::Arrow, device("Acme", name));
    let reader = arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(file), None).unwrap();
    let batch = reader.into_iter().next().unwrap().unwrap();
    let column = batch.column_by_name("src_device").unwrap();
    let column: &StructArray = column.as_any().downcast_ref().unwrap();
    assert_eq!((column.is_null(0), column.is_null(1)), (true, false));
    let text = |part: &str| {
        let part = column.column_by_name(part).unwrap();
        part.as_any().downcast_ref::<StringArray>().unwrap().value(1).to_owned()
    };
    let parts = ["mac", "vendor", "hostname", "source"].map(text);
    assert_eq!(parts, ["00:11:22:00:00:09", "Acme", name, "mdns"]);
}

#[test]
fn names_with_their_source_age_and_doubt() {
    let name = AddressName {
        name: "a.example".into(),
        service: NameService::Mdns,
        age_ns: 5,
        doubt: Some(Doubt::Ambiguous),
    };
    let line = labelled(Format::JsonLines, FlowFacts::default(), Some(name.clone()));
    let want =
        r#""name":"a.example","name_source":"mdns","name_age_ns":5,"name_doubt":"ambiguous"}"#;
    assert!(line.ends_with(want), "{line}");
    let facts = FlowFacts {
        sni: Some("b.example".into()),
        is_quic: true,
        alpn: Some("h3".into()),
        ja4: Some("q13d".into()),
        chosen_version: Some(0x7f17),
        chosen_cipher: Some(0xcca8),
        has_ech: true,
        cert_subject: Some("O=A, CN=d.example".into()),
        cert_name: Some("d.example".into()),
        spoken: Some(App::Quic),
        http_host: Some("c.example".into()),
        http_user_agent: Some("curl/8.5.0".into()),
        is_inside: false,
    };
    let line = labelled(Format::JsonLines, facts, Some(name));
    let want = concat!(
        r#""sni":"b.example","alpn":"h3","ja4":"q13d","tls_version":"0x7f17","#,
        r#""tls_cipher":"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256","ech":true,"#,
        r#""cert_subject":"O=A, CN=d.example","cert_name":"d.example","#,
        r#""http_host":"c.example","http_user_agent":"curl/8.5.0","#,
        r#""name":"b.example","name_source":"quic_sni"}"#,
    );
    assert!(line.ends_with(want), "{line}");
}

/// As Zeek's readers undo what Zeek escapes.
fn unescaped(column: &str) -> String {
    let mut pieces = column.split("\\x");
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// What reads as an absent or an empty value of Zeek's is none.
#[test]
fn names_that_zeek_has_a_meaning_for_are_escaped() {
    for (name, want) in [("-", "\\x2d"), ("(empty)", "\\x28empty)"), ("", "(empty)")] {
        let name =
            AddressName { name: name.into(), service: NameService::Dns, age_ns: 0, doubt: None };
        let line = labelled(Format::Zeek, FlowFacts::default(), Some(name));
        assert!(line.ends_with(&format!("\t{want}\tdns")), "{line:?}");
    }
}

/// What could do something to who looks at it is escaped in every format, and still readable.
#[test]
fn hostile_names_are_escaped_in_every_format() {
    for (hostile, shown) in [
        ("=1+2", "'=1+2"),
        ("@sum(a)", "'@sum(a)"),
        ("-1", "'-1"),
        ("+1", "'+1"),
        ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
        ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
        ("a\r\nb,\"c\"", "a\\u{d}\\u{a}b,\"c\""),
        ("\u{202e}moc.elpmaxe", "\\u{202e}moc.elpmaxe"),
        ("pay\u{200b}pal\u{feff}.\u{ad}x", "pay\\u{200b}pal\\u{feff}.\\u{ad}x"),
        ("a\u{e0041}\u{2060}b\u{61c}", "a\\u{e0041}\\u{2060}b\\u{61c}"),
        ("\u{ff1d}1+2", "'\u{ff1d}1+2"),
        ("\u{ff0b}1", "'\u{ff0b}1"),
        ("\u{ff0d}1", "'\u{ff0d}1"),
        ("\u{ff20}sum(a)", "'\u{ff20}sum(a)"),
        ("a\tb\\x09", "a\\u{9}b\\x09"),
        ("b\u{fc}cher.example", "b\u{fc}cher.example"),
    ] {
        let facts = || FlowFacts { http_host: Some(hostile.into()), ..FlowFacts::default() };
        let unseen =
            ['\u{202e}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{e0041}', '\u{2060}', '\u{61c}'];
        let is_calm = |line: &str| !line.contains(|c: char| c.is_control() || unseen.contains(&c));

        let json = labelled(Format::JsonLines, facts(), None);
        assert!(is_calm(&json), "{json:?}");
        let fields: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&fields["http_host"], &fields["name"]), (&hostile.into(), &hostile.into()));

        let json = written(Format::JsonLines, device(hostile, hostile));
        let json = std::str::from_utf8(&json).unwrap().lines().last().unwrap();
        assert!(is_calm(json), "{json:?}");
        let fields: Value = serde_json::from_str(json).unwrap();
        let (vendor, name) = (&fields["src_device"]["vendor"], &fields["src_device"]["hostname"]);
        assert_eq!((vendor, name), (&hostile.into(), &hostile.into()));

        let csv = written(Format::Csv, device(hostile, hostile));
        let csv = std::str::from_utf8(&csv).unwrap().lines().last().unwrap();
        assert!(is_calm(csv) && !csv.contains(",="), "{csv:?}");
        let table = written(Format::Table, device(hostile, hostile));
        let table = std::str::from_utf8(&table).unwrap().lines().last().unwrap();
        assert!(is_calm(table), "{table:?}");

        let csv = labelled(Format::Csv, facts(), None);
        assert!(is_calm(&csv), "{csv:?}");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        let column = names(FeaturesSet::Basic).iter().position(|name| *name == "name").unwrap();
        assert_eq!(&row[column], shown);

        let table = labelled(Format::Table, facts(), None);
        assert!(is_calm(&table), "{table:?}");
        assert!(table.ends_with(shown.strip_prefix('\'').unwrap_or(shown)), "{table:?}");

        for (format, path) in [(Format::ZeekJson, ""), (Format::Eve, "flowtap")] {
            let line = labelled(format, facts(), None);
            assert!(is_calm(&line), "{line:?}");
            let fields: Value = serde_json::from_str(&line).unwrap();
            let name = if path.is_empty() { &fields["resp_name"] } else { &fields[path]["name"] };
            assert_eq!(name, hostile, "{line}");
        }

        let zeek = labelled(Format::Zeek, facts(), None);
        assert!(is_calm(&zeek.replace('\t', " ")), "{zeek:?}");
        let columns: Vec<_> = zeek.split('\t').collect();
        assert_eq!((columns.len(), unescaped(columns[columns.len() - 2]).as_str()), (30, hostile));

        let ipfix = labelled(Format::Ipfix, facts(), None);
        assert!(hostile.len() < 4 || !ipfix.contains(hostile), "it has no names");
    }
}
