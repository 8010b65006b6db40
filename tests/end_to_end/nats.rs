//! Records as messages of NATS JetStream: what a real server keeps is read by NATS's own client for
//! Python, beside the JSON lines of the same run; and what becomes of records when the server goes,
//! refuses them, or is not there.

mod proxy;
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use self::proxy::Proxy;
use self::server::{CLIENT, Kept, PYTHON, Server};
use crate::live::Net;
use crate::program::{
    FLOWTAP, Run, feed, flowtap, folder, generate, generate_scan, json_file, sorted, wait_for,
};
use crate::{Outcome, ensure, not_here};

/// With root's rights.
pub(crate) fn live_trials() -> Vec<Trial> {
    if !has_server() {
        // It is said once.
        return Vec::new();
    }
    vec![Trial::test("nats::a_confined_capture_sends_to_a_server_by_name", confined)]
}

fn has_server() -> bool {
    let client = Command::new(PYTHON).args(["-c", "import nats"]).output();
    client.is_ok_and(|run| run.status.success())
        && Command::new("nats-server").arg("-v").output().is_ok()
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("nats::without_a_server_records_are_counted_and_memory_is_bounded", nobody),
        Trial::test("nats::files_that_say_nothing_are_refused_at_the_start", files),
    ];
    if !has_server() {
        let needs = "needs nats-server (scripts/setup) and nats-py (scripts/setup-python)";
        trials.extend(not_here("nats_server", needs));
        return trials;
    }
    trials.extend([
        Trial::test("nats::a_stream_has_every_record_once", every_record),
        Trial::test("nats::messages_of_several_records_have_them_all", several),
        Trial::test("nats::transactions_are_messages_too", transactions),
        Trial::test("nats::a_server_that_is_killed_and_comes_back_has_all", killed),
        Trial::test("nats::what_comes_twice_is_kept_once", twice),
        Trial::test("nats::no_stream_is_told_and_counted", no_stream),
        Trial::test("nats::a_stream_that_is_made_later_gets_all", late_stream),
        Trial::test("nats::a_full_stream_is_told_and_counted", full_stream),
        Trial::test("nats::a_subject_without_a_stream_holds_up_nothing_of_others", two_subjects),
        Trial::test(
            "nats::one_that_may_not_be_published_holds_up_nothing_of_others",
            denied_subject,
        ),
        Trial::test("nats::what_is_too_long_is_told_and_counted", too_long),
        Trial::test("nats::who_we_are_is_in_a_file", credentials),
        Trial::test("nats::who_we_are_is_in_a_file_of_nsc", operator),
        Trial::test("nats::an_unknown_authority_is_refused", unknown_authority),
        Trial::test("nats::a_stream_over_tls_has_every_record", over_tls),
    ]);
    trials
}

/// The ledger's records that were not sent, by cause; all records are accounted for.
fn not_sent(stats: &Path) -> Result<Value, Failed> {
    let ledger = json_file(stats)?;
    ensure(ledger["residuals"]["flows"] == 0, ledger["residuals"].to_string())?;
    let by_cause = ledger["flows"]["not_sent"].as_object().ok_or("no causes")?;
    let by_cause = by_cause.iter().map(|(cause, count)| {
        (cause.rsplit(": ").next().unwrap_or_default().to_owned(), count.clone())
    });
    Ok(
        json!({ "created": ledger["flows"]["created"], "by_cause": Value::Object(by_cause.collect()) }),
    )
}

/// All records were not sent for this one cause.
fn all_lost(stats: &Path, cause: &str) -> Outcome {
    let lost = not_sent(stats)?;
    let want = json!({ cause: lost["created"] });
    ensure(lost["by_cause"] == want && lost["created"] != 0, lost.to_string())
}

/// Each message's identifier is its record's, and no other's.
fn are_known_by_their_flows(kept: &[Kept]) -> Outcome {
    for message in kept {
        let record: Value = serde_json::from_str(&message.text)?;
        let id = format!("{}-{}", record["flow_id"].as_str().unwrap_or_default(), record["part"]);
        let is_right = if record["kind"] == "flow" {
            message.id == id
        } else {
            message.id.starts_with("overflow-") && message.id.len() == 25
        };
        ensure(is_right, format!("{} of {record}", message.id))?;
    }
    let ids: BTreeSet<_> = kept.iter().map(|message| &message.id).collect();
    ensure(ids.len() == kept.len(), format!("{} ids of {} messages", ids.len(), kept.len()))
}

/// The records of messages, in order.
fn records(kept: &[Kept]) -> Vec<String> {
    let texts: Vec<_> = kept.iter().map(|message| message.text.as_str()).collect();
    sorted(&texts.join("\n"))
}

/// A run of a capture into a stream and into JSON lines, which must be the same.
fn send(
    server: &Server,
    subject: &str,
    capture: &Path,
    more: &[&str],
) -> Result<Vec<Kept>, Failed> {
    let folder = folder();
    let jsonl = folder.path().join("a.jsonl");
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "-o", &server.url(subject), "-o"]).arg(&jsonl);
    let run = Run::of(command.args(more).arg(capture)).expect(0)?;
    ensure(run.stderr.is_empty(), run.stderr)?;
    let kept = server.read("FLOWS")?;
    let (sent, want) = (records(&kept), sorted(&fs::read_to_string(&jsonl)?));
    if sent == want {
        return Ok(kept);
    }
    let other: Vec<_> = sent.iter().filter(|one| !want.contains(one)).collect();
    let missing: Vec<_> = want.iter().filter(|one| !sent.contains(one)).collect();
    Err(format!("not the records of the run: {other:?}, but {missing:?}").into())
}

fn every_record() -> Outcome {
    let made = generate(5_000, 300, 41);
    // Parts, and aggregates of what found no room.
    for (more, has) in [
        (["--active-timeout", "1s"], r#""part":1,"#),
        (["--max-flows", "40"], r#""kind":"overflow""#),
    ] {
        let server = Server::start("")?;
        server.make(&json!({"name": "FLOWS", "subjects": ["flows.>"]}))?;
        let kept = send(&server, "flows.{interface}", &made.capture, &more)?;
        are_known_by_their_flows(&kept)?;
        ensure(kept.iter().any(|message| message.text.contains(has)), format!("no {has}"))?;
        let is_right = |it: &&Kept| it.subject == "flows.made_pcap" || it.subject == "flows._";
        let odd = kept.iter().find(|it| !is_right(it));
        ensure(odd.is_none(), format!("{:?}", odd.map(|it| &it.subject)))?;
        // The same file once more brings nothing new. What finds no room in a full table may be
        // another flow then: places in it are by a seed of each run.
        if !more.contains(&"--max-flows") {
            let again = send(&server, "flows.{interface}", &made.capture, &more)?;
            ensure(again.len() == kept.len(), format!("{} and then {}", kept.len(), again.len()))?;
        }
    }
    Ok(())
}

fn several() -> Outcome {
    let server = Server::start("")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let made = generate_scan(20_000);
    let kept =
        send(&server, "flows", &made.capture, &["--nats-batch", "50", "--nats-in-flight", "3"])?;
    ensure((400..2_000).contains(&kept.len()), format!("{} messages", kept.len()))?;
    let is_right = |message: &Kept| {
        let lines = message.text.lines().count();
        lines == 1 || message.id.starts_with(&format!("{lines}-"))
    };
    ensure(kept.iter().all(is_right), "an identifier that says another number")
}

fn transactions() -> Outcome {
    let server = Server::start("")?;
    server.make(&json!({"name": "DNS", "subjects": ["dns"]}))?;
    let made = generate(5_000, 300, 42);
    let [log, none] = ["dns.jsonl", "a.jsonl"].map(|name| made.folder.path().join(name));
    let read = |log: &str| {
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "-q", "--strict", "--dns-log", log, "-o"]).arg(&none);
        Run::of(command.arg(&made.capture)).expect(0).map(drop)
    };
    read(&log.display().to_string())?;
    read(&server.url("dns"))?;
    let (kept, want) = (server.read("DNS")?, sorted(&fs::read_to_string(&log)?));
    ensure(
        !want.is_empty() && records(&kept) == want,
        format!("{} of {}", kept.len(), want.len()),
    )?;
    ensure(
        kept.iter().all(|message| message.id.starts_with("dns-")),
        "an identifier of another kind",
    )
}

/// A run that reads a capture in two halves.
struct Halves {
    child: Child,
    second: Vec<u8>,
    /// While this is there the input has no end.
    open: Option<mpsc::Sender<()>>,
    folder: tempfile::TempDir,
}

impl Halves {
    /// Gives it the first half, of which so many records are acknowledged then.
    fn start(url: &str, acknowledged: u64) -> Result<Self, Failed> {
        let (capture, folder) = (fs::read(generate_scan(20_000).capture)?, folder());
        let path = |name: &str| folder.path().join(name);
        let mut child = Command::new(FLOWTAP)
            .args(["read", "-", "--strict", "--idle-timeout", "1s", "--stats-interval", "20ms"])
            .args(["-o", url, "--stats"])
            .arg(path("stats.json"))
            .arg("-o")
            .arg(path("a.jsonl"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (first, second) = capture.split_at(capture.len() / 2);
        child.stdin.as_mut().expect("it was piped").write_all(first)?;
        let is_there = || {
            let ledger = json_file(&path("stats.json")).unwrap_or_default();
            ledger["sinks"][0]["records"].as_u64() >= Some(acknowledged)
        };
        ensure(wait_for(is_there), "not even the first records")?;
        Ok(Self { child, second: second.to_vec(), open: None, folder })
    }

    /// Waits until it has said so.
    fn wait_until_told(&mut self, what: &str) -> Result<String, Failed> {
        let stderr = self.child.stderr.as_mut().expect("it was piped");
        let (mut said, mut byte) = (String::new(), [0]);
        while !said.contains(what) {
            ensure(stderr.read(&mut byte)? == 1, format!("not told that {what}: {said}"))?;
            said.push(byte[0].into());
        }
        Ok(said)
    }

    /// Gives it the second half, which may take until something else has happened.
    fn feed(&mut self) -> thread::JoinHandle<()> {
        let stdin = self.child.stdin.take().expect("it was piped");
        let (open, feeder) = feed(stdin, std::mem::take(&mut self.second));
        self.open = Some(open);
        feeder
    }

    /// Nothing was lost; its records as JSON lines.
    fn finish(self) -> Result<Vec<String>, Failed> {
        drop(self.open);
        Run::from(self.child.wait_with_output()?).expect(0)?;
        let stats = self.folder.path().join("stats.json");
        let lost = not_sent(&stats)?;
        ensure(lost["by_cause"] == json!({}), lost.to_string())?;
        Ok(sorted(&fs::read_to_string(self.folder.path().join("a.jsonl"))?))
    }
}

fn killed() -> Outcome {
    let mut server = Server::start("")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let mut halves = Halves::start(&server.url("flows"), 1_000)?;
    let feeder = halves.feed();
    server.kill()?;
    halves.wait_until_told("trying again")?;
    server.start_again()?;
    halves.wait_until_told("stores records again")?;
    let want = halves.finish()?;
    feeder.join().expect("it does not panic");
    let kept = server.read("FLOWS")?;
    are_known_by_their_flows(&kept)?;
    ensure(records(&kept) == want, format!("{} of {} records", kept.len(), want.len()))
}

/// The first connection ends with messages that the server has and we do not know of.
fn twice() -> Outcome {
    let server = Server::start("")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let proxy = Proxy::start(server.port)?;
    let mut halves = Halves::start(&format!("nats://127.0.0.1:{}/flows", proxy.port), 1_000)?;
    let feeder = halves.feed();
    halves.wait_until_told("stores records again")?;
    let want = halves.finish()?;
    feeder.join().expect("it does not panic");
    let kept = server.read("FLOWS")?;
    let published = proxy.published();
    ensure(published > want.len(), format!("{published} were published: none twice"))?;
    are_known_by_their_flows(&kept)?;
    ensure(records(&kept) == want, format!("{} of {} records", kept.len(), want.len()))
}

/// A run that fails, with its ledger.
fn fails(url: &str, more: &[&str]) -> Result<(Run, PathBuf, tempfile::TempDir), Failed> {
    let made = generate(2_000, 100, 43);
    let stats = made.folder.path().join("stats.json");
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "-o", url, "--stats"]).arg(&stats).args(more);
    let run = Run::of(command.arg(&made.capture)).expect(2)?;
    Ok((run, stats, made.folder))
}

fn no_stream() -> Outcome {
    let server = Server::start("")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["other"]}))?;
    let (run, stats, _folder) = fails(&server.url("flows"), &[])?;
    let is_said = run.stderr.contains("no stream takes this subject; make one");
    ensure(is_said && run.stderr.contains(&server.url("flows")), &run.stderr)?;
    all_lost(&stats, "no stream")
}

fn late_stream() -> Outcome {
    let server = Server::start("")?;
    let mut halves = Halves::start(&server.url("flows"), 0)?;
    let feeder = halves.feed();
    halves.wait_until_told("no stream takes")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    halves.wait_until_told("stores records again")?;
    let want = halves.finish()?;
    feeder.join().expect("it does not panic");
    ensure(records(&server.read("FLOWS")?) == want, "not the records of the run")
}

fn full_stream() -> Outcome {
    let server = Server::start("")?;
    let config = json!({"name": "FLOWS", "subjects": ["flows"], "max_msgs": 10, "discard": "new"});
    server.make(&config)?;
    let (run, stats, _folder) = fails(&server.url("flows"), &[])?;
    let is_said = run.stderr.contains("stream FLOWS is full: maximum messages exceeded; raise");
    ensure(is_said, &run.stderr)?;
    let lost = not_sent(&stats)?;
    let want = json!({ "stream full": lost["created"].as_u64().unwrap_or_default() - 10 });
    ensure(lost["by_cause"] == want, lost.to_string())?;
    ensure(server.read("FLOWS")?.len() == 10, "the stream has another number")
}

/// Two captures, each under a subject of its own; what is kept of the second, and what was not sent.
fn both_subjects(server: &Server, more: &[&str]) -> Result<(Vec<Kept>, Value, String), Failed> {
    let made = [generate_scan(20_000), generate(5_000, 300, 47)];
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for (capture, name) in made.iter().zip(["refused.pcap", "taken.pcap"]) {
        fs::copy(&capture.capture, path(name))?;
    }
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-o", &server.url("flows.{interface}"), "--stats"]);
    command.arg(path("stats.json")).args(more).arg("-o").arg(path("a.jsonl"));
    let run = Run::of(command.args(["refused.pcap", "taken.pcap"].map(path))).expect(2)?;
    let kept = server.read("FLOWS")?;
    let (all, lost) = (fs::read_to_string(path("a.jsonl"))?, not_sent(&path("stats.json"))?);
    let want: Vec<_> = all.lines().filter(|line| line.contains("taken.pcap")).collect();
    ensure(
        records(&kept) == sorted(&want.join("\n")),
        format!("{} of {}", kept.len(), want.len()),
    )?;
    Ok((kept, lost, run.stderr))
}

fn two_subjects() -> Outcome {
    let server = Server::start("")?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows.taken_pcap"]}))?;
    let (kept, lost, said) = both_subjects(&server, &[])?;
    let others = lost["created"].as_u64().unwrap_or_default() - kept.len() as u64;
    ensure(lost["by_cause"] == json!({ "no stream": others }), lost.to_string())?;
    ensure(said.contains("flows.refused_pcap: no stream takes this subject"), said)
}

fn denied_subject() -> Outcome {
    let users = r#"authorization { users = [
        { user: reader, password: secret }
        { user: half, password: secret, permissions: { publish: "flows.taken_pcap" } }
    ] }"#;
    let server = Server::start(users)?.with_user("reader:secret@");
    server.make(&json!({"name": "FLOWS", "subjects": ["flows.>"]}))?;
    let folder = folder();
    let creds = folder.path().join("half");
    fs::write(&creds, "user: half\npassword: secret")?;
    let (kept, lost, _) = both_subjects(&server, &["--nats-creds", &creds.display().to_string()])?;
    let others = lost["created"].as_u64().unwrap_or_default() - kept.len() as u64;
    ensure(lost["by_cause"] == json!({ "permission denied": others }), lost.to_string())
}

fn too_long() -> Outcome {
    for (server, stream) in [
        ("max_payload: 300", json!({"name": "FLOWS", "subjects": ["flows"]})),
        ("", json!({"name": "FLOWS", "subjects": ["flows"], "max_msg_size": 300})),
    ] {
        let server = Server::start(server)?;
        server.make(&stream)?;
        let made = generate(2_000, 100, 45);
        let stats = made.folder.path().join("stats.json");
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "-q", "--strict", "-o", &server.url("flows"), "--stats"]).arg(&stats);
        let run = Run::of(command.arg(&made.capture)).expect(1)?;
        let told = run.stderr.lines().filter(|line| line.contains("raise its")).count();
        ensure(told == 1, format!("{told} times: {}", run.stderr))?;
        all_lost(&stats, "message too long")?;
    }
    Ok(())
}

/// A seed that NATS's documentation shows, and its public key.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

fn credentials() -> Outcome {
    let users = format!(
        r#"authorization {{ users = [
            {{ user: reader, password: secret }}
            {{ user: "a b", password: "p: q" }}
            {{ nkey: {KEY} }}
            {{ user: denied, password: secret, permissions: {{ publish: "other" }} }}
            {{ user: deaf, password: secret, permissions: {{ subscribe: "other" }} }}
        ] }}"#
    );
    let server = Server::start(&users)?.with_user("reader:secret@");
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = generate(2_000, 100, 46);
    let mut kept = 0;
    for (name, text) in [("user", "user: a b\npassword: p: q"), ("nkey", SEED)] {
        fs::write(path(name), text)?;
        let kept_now = send(&server, "flows", &made.capture, &["--nats-creds", &path(name)])?.len();
        ensure(kept == 0 || kept_now == kept, format!("{name}: {kept_now}"))?;
        kept = kept_now;
    }
    for (name, text, cause, said) in [
        ("wrong", "user: reader\npassword: wrong", "not authorized", "refuses who we are; give"),
        ("key", "nkey: SUNONE", "not authorized", "cannot answer the server's challenge"),
        ("denied", "user: denied\npassword: secret", "permission denied", "let the user publish"),
        ("deaf", "user: deaf\npassword: secret", "permission denied", "let the user publish"),
    ] {
        fs::write(path(name), text)?;
        let (run, stats, _made) = fails(&server.url("flows"), &["--nats-creds", &path(name)])?;
        ensure(run.stderr.contains(said), format!("{name}: {}", run.stderr))?;
        ensure(!run.stderr.contains("secret"), format!("{name}: {}", run.stderr))?;
        all_lost(&stats, cause)?;
    }
    let (run, stats, _made) = fails(&server.url("flows"), &[])?;
    ensure(run.stderr.contains("--nats-creds"), run.stderr)?;
    all_lost(&stats, "not authorized")
}

fn operator() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    Run::of(Command::new(PYTHON).args([CLIENT, "-", "operator"]).arg(folder.path())).expect(0)?;
    let creds = path("user.creds");
    let server = Server::start(&fs::read_to_string(path("server.conf"))?)?.with_creds(&creds);
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let made = generate(2_000, 100, 49);
    let arguments = ["--nats-creds", &creds.display().to_string()];
    send(&server, "flows", &made.capture, &arguments).map(drop)
}

/// A server with a certificate for `localhost`; the authority that we trust is its own or not.
fn tls_server(is_ours: bool) -> Result<(Server, tempfile::TempDir, String), Failed> {
    let folder = folder();
    let (ours, other) = (crate::tls::authority("ours")?, crate::tls::authority("another")?);
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, ours.pem())?;
    let by = if is_ours { &ours } else { &other };
    let [cert, key] = crate::tls::certificate(folder.path(), "server", "localhost", 2100, by)?;
    let (cert, key) = (cert.display(), key.display());
    let server = Server::start(&format!(r#"tls {{ cert_file: "{cert}", key_file: "{key}" }}"#))?;
    Ok((server.with_tls(), folder, ca.display().to_string()))
}

fn over_tls() -> Outcome {
    let (server, _folder, ca) = tls_server(true)?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let kept = send(&server, "flows", &generate_scan(20_000).capture, &["--tls-ca", &ca])?;
    are_known_by_their_flows(&kept)
}

fn unknown_authority() -> Outcome {
    let (server, _folder, ca) = tls_server(false)?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows"]}))?;
    let (run, stats, _made) = fails(&server.url("flows"), &["--tls-ca", &ca])?;
    ensure(run.stderr.contains("its certificate is of an unknown authority"), &run.stderr)?;
    all_lost(&stats, "certificate refused")?;
    ensure(server.read("FLOWS")?.is_empty(), "the server got something")
}

/// The server is reached, and its name found, once all rights are given up.
fn confined() -> Outcome {
    let made = generate(5_000, 300, 48);
    let path = |name: &str| made.folder.path().join(name);
    let (stats, jsonl) = (path("stats.json"), path("a.jsonl"));
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let net = Net::up("ft-nats")?;
    Run::of(net.inside("ip").args(["link", "set", "dev", "lo", "up"])).expect(0)?;
    let server = Server::start_in("", Some("ft-nats-b"))?;
    server.make(&json!({"name": "FLOWS", "subjects": ["flows.*"]}))?;
    let [out, ledger] = [&jsonl, &stats].map(|path| path.display().to_string());
    let capture = net.capture(&[
        "-v",
        "-o",
        &server.url("flows.{interface}"),
        "-o",
        &out,
        "--strict",
        "--stats",
        &ledger,
        "--stats-interval",
        "50ms",
    ])?;
    net.send(&made.capture)?;
    capture.stop_after(frames, &stats)?;
    let kept = server.read("FLOWS")?;
    are_known_by_their_flows(&kept)?;
    let want = sorted(&fs::read_to_string(&jsonl)?);
    ensure(
        want.len() > 250 && records(&kept) == want,
        format!("{} of {}", kept.len(), want.len()),
    )?;
    ensure(kept.iter().all(|it| it.subject == "flows.v1"), "another subject")
}

fn nobody() -> Outcome {
    // A port that was free a moment ago, and is not given out again soon.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let made = generate_scan(300_000);
    let stats = made.folder.path().join("stats.json");
    let read = |output: &str, code: i32| {
        let arguments = ["read", "-q", "--idle-timeout", "1s", "-o", output, "--stats"];
        let files = [&stats, &made.capture].map(|path| path.display().to_string());
        let run = flowtap(arguments.map(str::to_owned).into_iter().chain(files)).expect(code)?;
        let memory = json_file(&stats)?["max_rss_bytes"].as_u64().unwrap_or_default();
        Ok::<_, Failed>((run, memory))
    };
    let file = made.folder.path().join("a.jsonl").display().to_string();
    let (_, without) = read(&file, 0)?;
    let (run, memory) = read(&format!("nats://localhost:{port}/flows"), 2)?;
    ensure(run.stderr.contains("connection refused; see that the server runs"), &run.stderr)?;
    all_lost(&stats, "connection refused")?;
    // The outbox (16 MiB), with what counts its messages, and the queue.
    let more = memory.saturating_sub(without);
    ensure(more < 64 << 20, format!("{more} bytes more than {without}"))
}

fn files() -> Outcome {
    let folder = folder();
    let made = generate(200, 10, 47);
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("odd"), "secret")?;
    let capture = made.capture.display().to_string();
    for (name, said) in [("odd", "line 1: not a name and a value"), ("missing", "no such file")] {
        let run = flowtap([
            "read",
            "-q",
            "-o",
            &path("a.jsonl"),
            "-o",
            "nats://localhost:1/flows",
            "--nats-creds",
            &path(name),
            &capture,
        ]);
        let run = run.expect(2)?;
        ensure(run.stderr.contains(said) && run.stderr.contains(&path(name)), &run.stderr)?;
        ensure(!run.stderr.contains("secret"), &run.stderr)?;
        ensure(!Path::new(&path("a.jsonl")).exists(), "something was written all the same")?;
    }
    let run =
        flowtap(["read", "-q", "-o", "nats://u:secret@localhost/flows", &capture]).expect(2)?;
    ensure(run.stderr.contains("--nats-creds") && !run.stderr.contains("secret"), &run.stderr)?;
    let run = flowtap(["convert", "-o", "nats://localhost/flows", &capture]).expect(2)?;
    ensure(run.stderr.contains("it is a collector"), &run.stderr)
}
