//! What is known of a flow beside what was counted, made of a record that was read back.

use crate::devices::label::Identity;
use crate::devices::{DeviceLabel, HostNameSource, Sighting};
use crate::export::picked::may_be_tunnel;
use crate::export::values::{Value, Values};
use crate::names::addresses::{AddressName, Doubt};
use crate::names::facts::{FlowFacts, cipher_by_name, version_by_name};
use crate::names::{App, Labels, NameService};
use crate::sync::Arc;

/// `None` if nothing is.
pub(super) fn labels(from: &Values) -> Option<Labels> {
    let facts = facts(from);
    // Of what its ports say it is made again.
    let is_seen = from.text("app_source") == Some("payload");
    let labels = Labels {
        facts: (facts != FlowFacts::default()).then(|| Arc::new(facts)),
        spoken: from.text("app").filter(|_| is_seen).and_then(App::by_name),
        name: address_name(from),
        devices: ["src_device", "dst_device"].map(|name| device(from, name)),
    };
    (labels != Labels::default()).then_some(labels)
}

fn facts(from: &Values) -> FlowFacts {
    let text = |name: &str| from.text(name).map(Arc::from);
    let facts = FlowFacts {
        spoken: None,
        sni: text("sni"),
        is_quic: from.text("name_source") == Some("quic_sni"),
        alpn: text("alpn"),
        ja4: text("ja4"),
        chosen_version: from.text("tls_version").and_then(version_by_name),
        chosen_cipher: from.text("tls_cipher").and_then(cipher_by_name),
        has_ech: *from.get("ech") == Value::Flag(true),
        cert_subject: text("cert_subject"),
        cert_name: text("cert_name"),
        http_host: text("http_host"),
        http_user_agent: text("http_user_agent"),
        is_inside: false,
    };
    // A tunnel's that is not named by what it has said itself: that was inside.
    let is_own = matches!(from.text("name_source"), Some("sni" | "quic_sni" | "http_host"));
    let has_any = facts.sni.is_some() || facts.http_host.is_some();
    let ports = ["src_port", "dst_port"].map(|name| from.number(name));
    let is_tunnel = may_be_tunnel(from.number("protocol"), ports);
    FlowFacts { is_inside: has_any && !is_own && is_tunnel, ..facts }
}

/// The name, if it is one that was learned for the address.
fn address_name(from: &Values) -> Option<AddressName> {
    let service = NameService::by_name(from.text("name_source")?)?;
    let doubt = from.text("name_doubt").and_then(Doubt::by_name);
    let (name, age_ns) = (from.text("name")?.into(), from.number("name_age_ns").unwrap_or(0));
    Some(AddressName { name, service, age_ns, doubt })
}

fn device(from: &Values, name: &str) -> Option<DeviceLabel> {
    let Value::Device(device) = from.get(name) else { return None };
    let device = device.row();
    // The source is that of the host's name, if it has one.
    let hostname = device.hostname.zip(HostNameSource::by_name(device.source));
    let identity = Identity {
        vendor: device.vendor.map(Arc::from),
        hostname: hostname.map(|(name, source)| (name.into(), source)),
    };
    Some(DeviceLabel {
        mac: device.mac,
        sighting: Sighting::by_name(device.source).unwrap_or(Sighting::Frame),
        identity: Some(Arc::new(identity)),
    })
}
