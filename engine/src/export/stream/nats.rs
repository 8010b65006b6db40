//! NATS JetStream: a message is published with a subject of ours for its answer, and the stream
//! that takes it answers when it has it.
//!
//! async-nats speaks the protocol, on a runtime that lives in a connection and runs on the sink's
//! thread while that waits for it. It connects once: a connection that fails is dropped with all
//! that its library still holds. Servers look every two minutes whether a client is there, unless
//! told otherwise, and the thread looks after the connection each second.

mod answer;
mod credentials;

pub(in crate::export) use self::credentials::Credentials;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::pin::pin;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message as Answered,
    ServerAddr, ServerError, Subscriber,
};
use futures_util::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::timeout;

use self::answer::{answer, too_long};
use super::address::Address;
use super::message::Message;
use super::{Answer, Connect, Link};
use crate::export::collector::{
    Failure, HostPort, NAME_NOT_FOUND, NOT_AUTHORIZED, TlsConfig, refusal,
};
use crate::export::queue::Progress;
use crate::limits::{COLLECTOR_CONNECT, COLLECTOR_STANDS, STREAM_ANSWER};
use crate::sync::Arc;

/// Commands to the library that are no messages: a subscription.
const COMMANDS: usize = 16;

/// How to get a connection to a server.
pub(super) struct Nats {
    pub(super) address: Address,
    pub(super) tls: Option<TlsConfig>,
    pub(super) credentials: Option<Credentials>,
    pub(super) in_flight: usize,
}

impl Connect for Nats {
    fn connect(&self, progress: &Progress) -> Result<Box<dyn Link>, Failure> {
        Ok(Box::new(Session::open(self, progress)?))
    }
}

impl Nats {
    fn servers(&self) -> Result<Vec<ServerAddr>, Failure> {
        let server = |(host, port): &(String, u16)| {
            let place = format!("nats://{}", HostPort(host, *port));
            place.parse().map_err(|error: io::Error| failed("not a server", error.to_string()))
        };
        self.address.hosts.iter().map(server).collect()
    }

    fn options(&self, told: impl Fn(Event) + Send + Sync + 'static) -> ConnectOptions {
        let options = match &self.credentials {
            None => ConnectOptions::new(),
            Some(credentials) => credentials.options(),
        };
        let options = options
            .name("flowtap")
            .connection_timeout(COLLECTOR_CONNECT)
            .ignore_discovered_servers()
            // A connection that is dead is noticed though nothing is heard of a subject.
            .ping_interval(STREAM_ANSWER)
            .client_capacity(self.in_flight + COMMANDS)
            .subscription_capacity(self.in_flight + COMMANDS)
            .event_callback(move |event| {
                told(event);
                std::future::ready(())
            });
        match &self.tls {
            None => options,
            Some(config) => options.require_tls(true).tls_client_config((**config).clone()),
        }
    }
}

/// A connection, as the thread sees it.
struct Session {
    /// `None` once it ends.
    runtime: Option<Runtime>,
    client: Client,
    /// What stands before a message's number in the subject of its answer.
    inbox: String,
    answers: Subscriber,
    events: UnboundedReceiver<Event>,
    /// Messages without an answer, and their subjects.
    unanswered: BTreeMap<u64, Arc<str>>,
    /// Answers that no server has given.
    ours: Vec<(u64, Answer)>,
    /// What to say once all answers are taken.
    failure: Option<Failure>,
}

impl Session {
    fn open(nats: &Nats, progress: &Progress) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::from)?;
        let (told, events) = unbounded_channel();
        // Nobody listens to one that ends.
        let options = nats.options(move |event| drop(told.send(event)));
        let servers = nats.servers()?;
        let opened = runtime.block_on(async {
            let mut connect = pin!(options.connect(servers));
            let client = loop {
                progress.note();
                // Each of several addresses may take its time.
                if let Ok(connected) = timeout(COLLECTOR_STANDS, &mut connect).await {
                    break connected.map_err(|error| not_connected(&error, &nats.address))?;
                }
            };
            let inbox = format!("{}.", client.new_inbox());
            let answers = client.subscribe(format!("{inbox}*")).await;
            let answers = answers.map_err(|error| failed("connection lost", error.to_string()))?;
            Ok((client, inbox, answers))
        });
        let (client, inbox, answers) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                // It may still look a name up.
                runtime.shutdown_background();
                return Err(failure);
            }
        };
        let (unanswered, ours, failure) = (BTreeMap::new(), Vec::new(), None);
        let runtime = Some(runtime);
        Ok(Self { runtime, client, inbox, answers, events, unanswered, ours, failure })
    }

    /// What a server has answered, if it is to one of our messages.
    fn take(&mut self, answered: &Answered) -> Option<(u64, Answer)> {
        let number = answered.subject.strip_prefix(self.inbox.as_str())?.parse().ok()?;
        let status = answered.status.map(|status| status.as_u16());
        self.unanswered.remove(&number)?;
        Some((number, answer(status, &answered.payload)))
    }

    /// What has happened to the connection.
    fn hear(&mut self, event: Event) {
        let failure = match event {
            Event::Disconnected | Event::Closed => {
                failed("connection lost", "the server has closed the connection".to_owned())
            }
            Event::ServerError(error) => {
                let text = match &error {
                    ServerError::Other(text) => text.clone(),
                    error => error.to_string(),
                };
                let is_denied = text.to_lowercase().contains("permissions violation");
                if is_denied {
                    let failure = denied(&text);
                    // A message that may not be published has no answer.
                    if text.to_lowercase().contains("for publish") {
                        let is_meant = |subject: &str| is_denied_to(&text, subject);
                        let refused =
                            self.unanswered.extract_if(.., |_, subject| is_meant(subject));
                        let refuse = |(number, _)| (number, Answer::NotNow(failure.clone()));
                        return self.ours.extend(refused.map(refuse));
                    }
                    failure
                } else {
                    failed("refused by the server", format!("the server says: {text}"))
                }
            }
            // It is ours to connect, and to keep up with answers.
            Event::Connected
            | Event::LameDuckMode
            | Event::Draining
            | Event::SlowConsumer(_)
            | Event::ClientError(_) => return,
        };
        self.failure.get_or_insert(failure);
    }
}

impl Link for Session {
    fn publish(&mut self, messages: &[(u64, Message)]) -> Result<(), Failure> {
        let Self { runtime, client, inbox, unanswered, ours, .. } = self;
        let Some(runtime) = runtime else { return Ok(()) };
        let publish = async {
            for (number, message) in messages {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, message.id.as_str());
                let (subject, reply) = (message.subject.to_string(), format!("{inbox}{number}"));
                let text = message.text.clone();
                match client.publish_with_reply_and_headers(subject, reply, headers, text).await {
                    Ok(()) => {
                        unanswered.insert(*number, Arc::clone(&message.subject));
                    }
                    Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                        let most = client.server_info().max_payload;
                        ours.push((*number, Answer::Never(too_long(message.text.len(), most))));
                    }
                    Err(error) => return Err(failed("connection lost", error.to_string())),
                }
            }
            // From here they go to the socket, as far as that takes them.
            yield_now().await;
            Ok(())
        };
        let late = || failed("not acknowledged", "the server reads nothing".to_owned());
        runtime.block_on(async {
            timeout(STREAM_ANSWER, publish).await.unwrap_or_else(|_| Err(late()))
        })
    }

    fn answers(&mut self, wait: Duration) -> Result<Vec<(u64, Answer)>, Failure> {
        let mut taken = Vec::new();
        if let Some(runtime) = &self.runtime {
            let (answers, ours) = (&mut self.answers, &self.ours);
            runtime.block_on(async {
                if wait.is_zero() || !ours.is_empty() {
                    yield_now().await;
                } else if let Ok(first) = timeout(wait, answers.next()).await {
                    taken.extend(first);
                }
                while let Some(Some(answered)) = answers.next().now_or_never() {
                    taken.push(answered);
                }
            });
        }
        let mut all: Vec<_> = taken.iter().filter_map(|answered| self.take(answered)).collect();
        while let Ok(event) = self.events.try_recv() {
            self.hear(event);
        }
        all.append(&mut self.ours);
        match self.failure.take() {
            Some(failure) if all.is_empty() => Err(failure),
            failure => {
                self.failure = failure;
                Ok(all)
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Nothing that it still does is waited for.
            runtime.shutdown_background();
        }
    }
}

fn failed(cause: &str, text: String) -> Failure {
    answer::failure(cause, text)
}

/// Whether it is messages of a subject that may not be published: of all, if none is named.
fn is_denied_to(text: &str, subject: &str) -> bool {
    let text = text.to_lowercase();
    let named = text.split_once("for publish to \"").map(|(_, named)| named);
    named.is_none_or(|named| named.strip_prefix(&subject.to_lowercase()) == Some("\""))
}

fn denied(text: &str) -> Failure {
    let text = format!(
        "the server says: {text}; let the user publish to the subject and subscribe to _INBOX.>"
    );
    failed("permission denied", text)
}

/// Why there is no connection, by what is at the bottom of it.
fn not_connected(error: &ConnectError, address: &Address) -> Failure {
    let servers = address.servers();
    let advice = "give a user, a token or a key with --nats-creds";
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            return failed(NOT_AUTHORIZED, format!("the server refuses who we are; {advice}"));
        }
        ConnectErrorKind::Authentication => {
            let text = "what --nats-creds has cannot answer the server's challenge".to_owned();
            return failed(NOT_AUTHORIZED, text);
        }
        ConnectErrorKind::TimedOut => {
            return Failure::from(io::Error::from(io::ErrorKind::TimedOut));
        }
        ConnectErrorKind::Dns => {
            return failed(NAME_NOT_FOUND, format!("{servers}: {}", root(error)));
        }
        _ => {}
    }
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = next {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
            return match tls {
                Some(tls) => refusal(tls, &servers),
                None => Failure::from(io::Error::from(error.kind())),
            };
        }
        next = inner.source();
    }
    failed("not connected", root(error))
}

/// What is at the bottom of an error.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_denies_one_subject_says_nothing_of_another() {
        let text = "Permissions Violation for Publish to \"flows.Eth0\"";
        assert!(is_denied_to(text, "flows.Eth0") && !is_denied_to(text, "flows.Eth01"));
        assert!(!is_denied_to(text, "flows") && !is_denied_to(text, "other"));
        let text = "Permissions Violation for Publish with Reply of \"_INBOX.x\"";
        assert!(is_denied_to(text, "flows"));
    }
}
