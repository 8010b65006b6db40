//! A real nats-server with JetStream, in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Run, folder, wait_for};
use crate::{Outcome, ensure};

/// The Python that has NATS's client.
pub(super) const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");

/// Makes and reads streams.
pub(super) const CLIENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/nats/client.py");

/// Killed when dropped.
pub(super) struct Server {
    child: Child,
    folder: TempDir,
    pub(super) port: u16,
    /// What stands before the host for the client of the test.
    user: &'static str,
    is_tls: bool,
    /// Who the client of the test is.
    creds: Option<PathBuf>,
    /// Where it runs, if not here.
    netns: Option<&'static str>,
}

/// A message that a stream has.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) text: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Server {
    /// One with more in its configuration.
    pub(super) fn start(more: &str) -> Result<Self, Failed> {
        Self::start_in(more, None)
    }

    /// One in a network namespace.
    pub(super) fn start_in(more: &str, netns: Option<&'static str>) -> Result<Self, Failed> {
        // A port that was free a moment ago, and is not given out again soon.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = folder();
        let store = folder.path().join("store");
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
            store.display()
        );
        fs::write(folder.path().join("nats.conf"), config)?;
        let child = spawn(&folder, netns)?;
        Ok(Self { child, folder, port, user: "", is_tls: false, creds: None, netns })
    }

    /// The client of the test says who it is.
    pub(super) fn with_user(mut self, user: &'static str) -> Self {
        self.user = user;
        self
    }

    pub(super) fn with_creds(mut self, file: &Path) -> Self {
        self.creds = Some(file.to_owned());
        self
    }

    pub(super) fn with_tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    pub(super) fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// With all that it has on its disk.
    pub(super) fn start_again(&mut self) -> Outcome {
        self.child = spawn(&self.folder, self.netns)?;
        Ok(())
    }

    /// What `-o` takes.
    pub(super) fn url(&self, subject: &str) -> String {
        let kind = if self.is_tls { "nats+tls" } else { "nats" };
        format!("{kind}://localhost:{}/{subject}", self.port)
    }

    /// Makes a stream.
    pub(super) fn make(&self, config: &Value) -> Outcome {
        self.client(&["make", &config.to_string()]).map(drop)
    }

    /// All messages of a stream.
    pub(super) fn read(&self, stream: &str) -> Result<Vec<Kept>, Failed> {
        let text = self.client(&["read", stream])?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    fn client(&self, arguments: &[&str]) -> Result<String, Failed> {
        let Self { user, port, .. } = self;
        let kind = if self.is_tls { "tls" } else { "nats" };
        let mut command = command(self.netns, PYTHON);
        if let Some(file) = &self.creds {
            command.env("NATS_CREDS", file);
        }
        command.arg(CLIENT).arg(format!("{kind}://{user}localhost:{port}")).args(arguments);
        Ok(Run::of(&mut command).expect(0)?.stdout)
    }
}

/// A command in a network namespace, or here.
fn command(netns: Option<&str>, program: &str) -> Command {
    let Some(netns) = netns else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, program]);
    command
}

fn spawn(folder: &TempDir, netns: Option<&str>) -> Result<Child, Failed> {
    let log = folder.path().join("log");
    let mut command = command(netns, "nats-server");
    command.arg("-c").arg(folder.path().join("nats.conf"));
    let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn()?;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    ensure(wait_for(|| said().contains("Server is ready")), said())?;
    Ok(child)
}
