//! Records sent to collectors over TLS: what one of rustls receives is read by tshark; and one that
//! is not who it should be gets nothing.

use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use libtest_mimic::{Failed, Trial};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::ipfix::{agree, has_tshark};
use crate::program::{FLOWTAP, Run, folder, generate, generate_scan, json_file};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let refused = |name: &str, run: fn() -> Outcome| Trial::test(format!("tls::{name}"), run);
    let mut trials = vec![
        refused("a_certificate_for_another_name_is_refused", || {
            refuses(&Server { name: "other.example", ..SERVER }, "not for localhost")
        }),
        refused("an_expired_certificate_is_refused", || {
            refuses(&Server { until: 2021, ..SERVER }, "has expired")
        }),
        refused("an_unknown_authority_is_refused", || {
            refuses(&Server { is_of_ours: false, ..SERVER }, "unknown authority")
        }),
        refused("a_collector_that_wants_a_certificate_gets_nothing_without", || {
            refuses(&Server { wants_certificate: true, ..SERVER }, "does it want --tls-cert?")
        }),
        refused("files_that_are_none_are_refused_at_the_start", files),
    ];
    if has_tshark() {
        trials.extend([
            Trial::test("tls::tshark_reads_what_was_encrypted", || receives(&SERVER, false)),
            Trial::test("tls::tshark_reads_what_was_encrypted_for_whom_we_prove_to_be", || {
                receives(&Server { wants_certificate: true, ..SERVER }, true)
            }),
        ]);
    } else {
        trials.extend(not_here("tls_tshark", "needs tshark (scripts/setup installs it)"));
    }
    trials
}

/// What a collector shows, and wants.
#[derive(Clone, Copy)]
struct Server {
    name: &'static str,
    /// The year in which its certificate ends.
    until: i32,
    /// Whether its authority is the one that we trust.
    is_of_ours: bool,
    wants_certificate: bool,
}

/// One that there is nothing against.
const SERVER: Server =
    Server { name: "localhost", until: 2100, is_of_ours: true, wants_certificate: false };

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Result<Authority, Failed> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A certificate and its key, in files of a folder.
pub(crate) fn certificate(
    folder: &Path,
    of: &str,
    name: &str,
    until: i32,
    by: &Authority,
) -> Result<[PathBuf; 2], Failed> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    let [cert, private] = ["cert", "key"].map(|what| folder.join(format!("{of}-{what}.pem")));
    fs::write(&cert, params.signed_by(&key, by)?.pem())?;
    fs::write(&private, key.serialize_pem())?;
    Ok([cert, private])
}

/// A collector that takes one connection after the other to its end.
struct Collector {
    folder: TempDir,
    url: String,
    /// The arguments that say whom to trust.
    trust: [PathBuf; 2],
    /// Those that say who we are.
    own: [PathBuf; 4],
    /// What each connection gave.
    received: Receiver<io::Result<Vec<u8>>>,
}

fn start(server: &Server) -> Result<Collector, Failed> {
    let folder = folder();
    let (ours, other) = (authority("ours")?, authority("another")?);
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, ours.pem())?;
    let by = if server.is_of_ours { &ours } else { &other };
    let [cert, key] = certificate(folder.path(), "server", server.name, server.until, by)?;
    let [own_cert, own_key] = certificate(folder.path(), "own", "exporter.example", 2100, &ours)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = if server.wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&ca)?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build()?)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = (CertificateDer::from_pem_file(cert)?, PrivateKeyDer::from_pem_file(key)?);
    let config = Arc::new(builder.with_single_cert(vec![chain], key)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("ipfix+tls://localhost:{}", listener.local_addr()?.port());
    let (told, received) = channel();
    let take = move |stream: io::Result<TcpStream>| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut received = Vec::new();
        // Without the end that TLS has (close_notify) this is an error.
        StreamOwned::new(connection, stream?).read_to_end(&mut received)?;
        Ok(received)
    };
    // Until nobody wants to know.
    thread::spawn(move || listener.incoming().map(take).try_for_each(|it| told.send(it)));
    let trust = ["--tls-ca".into(), ca];
    let own = ["--tls-cert".into(), own_cert, "--tls-key".into(), own_key];
    Ok(Collector { folder, url, trust, own, received })
}

fn receives(server: &Server, shows_certificate: bool) -> Outcome {
    let collector = start(server)?;
    let [ipfix, jsonl] = ["a.ipfix", "a.jsonl"].map(|name| collector.folder.path().join(name));
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "-o", &collector.url]).args(&collector.trust);
    if shows_certificate {
        command.args(&collector.own);
    }
    let made = generate_scan(20_000);
    Run::of(command.arg("-o").arg(&jsonl).arg(&made.capture)).expect(0)?;
    fs::write(&ipfix, collector.received.recv()??)?;
    agree(&ipfix, &jsonl, 20_000)
}

/// Nothing is sent, it is said why, and all records are counted.
fn refuses(server: &Server, why: &str) -> Outcome {
    let collector = start(server)?;
    let stats = collector.folder.path().join("stats.json");
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "-o", &collector.url, "--stats"]).arg(&stats);
    let made = generate(2_000, 100, 37);
    let run = Run::of(command.args(&collector.trust).arg(&made.capture)).expect(2)?;
    ensure(run.stderr.contains(why), &run.stderr)?;
    ensure(collector.received.recv()?.is_err(), "the collector got something")?;
    ensure(collector.received.try_iter().all(|it| it.is_err()), "it got something later")?;
    let flows = &json_file(&stats)?["flows"];
    let lost = flows["not_sent"].as_object().into_iter().flatten();
    let lost: u64 = lost.filter_map(|(_, count)| count.as_u64()).sum();
    ensure(Some(lost) == flows["created"].as_u64(), flows.to_string())
}

fn files() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("none.pem"), "no certificate")?;
    let made = generate(200, 10, 38);
    for (file, why) in [("none.pem", "no certificate in it"), ("missing.pem", "read ")] {
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "-q", "-o", "ipfix+tls://localhost:1", "--tls-ca"]).arg(path(file));
        let run = Run::of(command.arg("-o").arg(path("a.jsonl")).arg(&made.capture)).expect(2)?;
        ensure(run.stderr.contains(why) && run.stderr.contains(file), &run.stderr)?;
        ensure(!path("a.jsonl").exists(), "something was written all the same")?;
    }
    Ok(())
}
