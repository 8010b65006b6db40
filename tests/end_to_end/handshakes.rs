//! What flows say of themselves in their first packets, held against other readers: tshark in real
//! captures, and clients of mail and files that go on in TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::Value;

use crate::ipfix::has_tshark;
use crate::program::{Run, flowtap, folder, json_lines};
use crate::{Outcome, captures, ensure, not_here};

/// Has tshark read the captures, and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/handshakes.py");

/// Makes a capture of connections that go on in TLS.
const STARTTLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/starttls.py");

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("handshakes::mail_and_files_go_on_in_tls", starttls)];
    if captures::files().is_empty() {
        let what = "there is no folder of captures with truth beside the project";
        trials.extend(not_here("handshakes_captures", what));
    } else if !has_tshark() {
        trials.extend(not_here("handshakes_captures", "needs tshark (scripts/setup installs it)"));
    } else {
        trials.push(Trial::test("handshakes::tshark_reads_the_same", in_captures));
    }
    trials
}

fn in_captures() -> Outcome {
    let folder = folder();
    let files = captures::files();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let records = folder.path().join(format!("{name}.jsonl"));
        let arguments = ["read", "-q", "--idle-timeout", "off", "--active-timeout", "off", "-o"];
        let arguments = arguments.map(PathBuf::from).into_iter();
        // Of damaged files what stood before the damage is compared.
        flowtap(arguments.chain([records, file.clone()]));
    }
    let run = Run::of(Command::new("python3").arg(COMPARE).arg(folder.path()).args(&files));
    let run = run.expect(0)?;
    let counts: Vec<u32> = run.stdout.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let is_enough = matches!(
        counts[..],
        [hellos, named, hidden, more] if hellos >= 300 && named >= 40 && hidden >= 1 && more <= 10
    );
    ensure(is_enough, format!("flows with a ServerHello, a certificate, ECH; beyond: {counts:?}"))
}

/// Each connection is known by its greeting, also on another port, and says in TLS what it says on
/// port 443; where that is TLS 1.2 also whose certificate the server has.
fn starttls() -> Outcome {
    let folder = folder();
    let [certificate, key, capture] =
        ["certificate.pem", "key.pem", "made.pcap"].map(|name| folder.path().join(name));
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "mail.example");
    let pair = KeyPair::generate()?;
    fs::write(&certificate, parameters.self_signed(&pair)?.pem())?;
    fs::write(&key, pair.serialize_pem())?;
    let mut script = Command::new("python3");
    Run::of(script.arg(STARTTLS).args([&certificate, &key, &capture])).expect(0)?;
    let arguments = ["read", "-q", "--strict", "-o", "-"].map(PathBuf::from).into_iter();
    let run = flowtap(arguments.chain([capture])).expect(0)?;
    let records = json_lines(&run.stdout)?;
    for (place, (app, port)) in
        [("smtp", 25), ("imap", 143), ("pop3", 110), ("ftp", 21)].into_iter().enumerate()
    {
        for (port, version) in [(port, "TLSv1.2"), (10_000 + place, "TLSv1.3")] {
            let record = records.iter().find(|record| record["dst_port"] == port);
            let record = record.ok_or_else(|| format!("no flow to port {port}"))?;
            let is_so = record["app"] == app
                && record["app_source"] == "payload"
                && record["sni"] == "localhost"
                && record["name"] == "localhost"
                && record["ja4"].as_str().is_some_and(|ja4| ja4.starts_with("t13d"))
                && record["tls_version"] == version;
            ensure(is_so, format!("{app} on port {port}: {record}"))?;
            let shown = if version == "TLSv1.2" { "localhost".into() } else { Value::Null };
            ensure(record["cert_name"] == shown, format!("{app} on port {port}: {record}"))?;
        }
    }
    ensure(records.len() == 8, format!("{} flows", records.len()))
}
