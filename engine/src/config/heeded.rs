//! Options that some outputs alone heed: given without one of those they would have no effect,
//! and whoever gave them would not know.

use crate::error::{Error, Result};
use crate::export::{Broker, Format, SinkOptions, SinkSpec, StreamOptions, Target, Transport};

/// An option that was given, and what it takes.
struct Heeded {
    option: &'static str,
    is_given: bool,
    by: fn(&SinkSpec) -> bool,
    /// Why it has no effect.
    cause: &'static str,
    /// What it is for.
    purpose: &'static str,
}

/// Sees that each option that is given has an effect on some sink.
///
/// # Errors
/// If one has none.
pub(super) fn check<'a>(
    options: &SinkOptions,
    sinks: impl Iterator<Item = &'a SinkSpec> + Clone,
) -> Result<()> {
    let heeded = table(options).into_iter().filter(|it| it.is_given);
    for Heeded { option, by, cause, purpose, .. } in heeded {
        if !sinks.clone().any(by) {
            return Err(Error::new(option, cause).advise(format!("leave it out: {purpose}")));
        }
    }
    Ok(())
}

fn table(options: &SinkOptions) -> [Heeded; 10] {
    let SinkOptions { tls, stream, .. } = options;
    let (usual, usual_stream) = (SinkOptions::default(), StreamOptions::default());
    let to_collectors = |option, is_given, purpose| {
        let cause = "no output is a collector";
        Heeded { option, is_given, by: is_collector, cause, purpose }
    };
    let to_nats = |option, is_given| {
        let (cause, purpose) = ("no output is a NATS server", "it is for nats:// and nats+tls://");
        Heeded { option, is_given, by: is_nats, cause, purpose }
    };
    let over_tls = |option, is_given| {
        let cause = "no output goes over TLS";
        let purpose = "it is for ipfix+tls:// and nats+tls://";
        Heeded { option, is_given, by: is_over_tls, cause, purpose }
    };
    [
        to_collectors(
            "--spool",
            options.spool.is_some(),
            "records wait on disk for collectors only",
        ),
        to_collectors("--uniflow", options.uniflow, "only collectors get records of one direction"),
        Heeded {
            option: "--datagram-bytes",
            is_given: options.datagram_bytes != usual.datagram_bytes,
            by: is_over_udp,
            cause: "no output is a collector over UDP",
            purpose: "it is for ipfix+udp:// and netflow9+udp://",
        },
        Heeded {
            option: "--pen",
            is_given: options.pen.is_some(),
            by: |sink| sink.format == Format::Ipfix,
            cause: "no output is IPFIX",
            purpose: "it is for .ipfix files and for collectors",
        },
        over_tls("--tls-ca", tls.ca.is_some()),
        over_tls("--tls-cert", tls.cert.is_some()),
        over_tls("--tls-key", tls.key.is_some()),
        to_nats("--nats-creds", stream.credentials.is_some()),
        to_nats("--nats-batch", stream.batch != usual_stream.batch),
        to_nats("--nats-in-flight", stream.in_flight != usual_stream.in_flight),
    ]
}

fn is_collector(sink: &SinkSpec) -> bool {
    matches!(sink.target, Target::Collector(_))
}

fn is_over_udp(sink: &SinkSpec) -> bool {
    matches!(&sink.target, Target::Collector(endpoint) if endpoint.transport == Transport::Udp)
}

fn is_nats(sink: &SinkSpec) -> bool {
    matches!(&sink.target, Target::Stream(address) if address.broker == Broker::Nats)
}

fn is_over_tls(sink: &SinkSpec) -> bool {
    match &sink.target {
        Target::Collector(endpoint) => endpoint.transport == Transport::Tls,
        Target::Stream(address) => address.is_tls,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::export::{SpoolOptions, TlsFiles};

    #[test]
    fn options_without_an_output_that_heeds_them_are_refused() {
        let usual = SinkOptions::default;
        let file = || Some(PathBuf::from("file"));
        let tls = |tls: TlsFiles| SinkOptions { tls, ..usual() };
        let stream = |stream: StreamOptions| SinkOptions { stream, ..usual() };
        let spool = SpoolOptions { folder: "d".into(), bytes: 1 };
        let all = [
            "-",
            "a.ipfix",
            "ipfix+tcp://h",
            "ipfix+udp://h",
            "netflow9+udp://h",
            "ipfix+tls://h",
            "nats://h/s",
            "nats+tls://h/s",
        ];
        let over_tls = ["ipfix+tls://h", "nats+tls://h/s"];
        // What heeds it, of all these.
        for (option, options, heeded) in [
            ("--spool", SinkOptions { spool: Some(spool), ..usual() }, &all[2..6]),
            ("--uniflow", SinkOptions { uniflow: true, ..usual() }, &all[2..6]),
            ("--datagram-bytes", SinkOptions { datagram_bytes: 600, ..usual() }, &all[3..5]),
            ("--pen", SinkOptions { pen: Some(1), ..usual() }, &all[1..6]),
            ("--tls-ca", tls(TlsFiles { ca: file(), ..TlsFiles::default() }), &over_tls[..]),
            ("--tls-cert", tls(TlsFiles { cert: file(), key: file(), ca: None }), &over_tls[..]),
            (
                "--nats-creds",
                stream(StreamOptions { credentials: file(), ..StreamOptions::default() }),
                &all[6..],
            ),
            (
                "--nats-batch",
                stream(StreamOptions { batch: 2, ..StreamOptions::default() }),
                &all[6..],
            ),
            (
                "--nats-in-flight",
                stream(StreamOptions { in_flight: 2, ..StreamOptions::default() }),
                &all[6..],
            ),
        ] {
            for output in all {
                let sinks = [SinkSpec::parse(output).unwrap()];
                let checked = check(&options, sinks.iter());
                assert_eq!(checked.is_ok(), heeded.contains(&output), "{option} {output}");
                if let Err(error) = checked {
                    assert!(error.to_string().starts_with(&format!("{option}: no output")));
                }
                // Another output beside it takes nothing away.
                let more = [SinkSpec::parse("ipfix+udp://h"), SinkSpec::parse("nats+tls://h/s")];
                let more = more.map(Result::unwrap);
                assert!(check(&options, sinks.iter().chain(&more)).is_ok(), "{option} {output}");
            }
            assert!(check(&usual(), [].iter()).is_ok());
        }
    }
}
