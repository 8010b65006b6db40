//! What a stream answers to a message (JetStream's `PubAck`), in words.

use serde::Deserialize;

use crate::export::collector::Failure;
use crate::export::stream::Answer;

/// The longest text that is told.
const TEXT_CHARS: usize = 500;

/// Nobody takes what is published to the subject: no stream, and nobody else.
const NO_RESPONDERS: u16 = 503;

/// JetStream's numbers of errors that say what to do (server/errors.json of nats-server).
mod code {
    /// Of the server: its store has no room.
    pub(super) const NO_RESOURCES: [u64; 4] = [10_023, 10_028, 10_047, 10_002];
    /// JetStream is not enabled, or not for this account.
    pub(super) const NOT_ENABLED: [u64; 2] = [10_039, 10_076];
    /// A message is longer than the stream takes.
    pub(super) const TOO_LONG: u64 = 10_054;
    /// The stream did not keep it: as it is full.
    pub(super) const NOT_STORED: u64 = 10_077;
    /// The stream is sealed.
    pub(super) const SEALED: u64 = 10_109;
}

#[derive(Deserialize)]
struct PublishAnswer {
    stream: Option<String>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// What an answer with this status, if it has one, and this text says.
pub(super) fn answer(status: Option<u16>, text: &[u8]) -> Answer {
    if status == Some(NO_RESPONDERS) {
        let text = "no stream takes this subject; make one (nats stream add --subjects …), or \
                    start the server with JetStream (-js)";
        return not_now("no stream", text.to_owned());
    }
    match serde_json::from_slice(text) {
        Ok(PublishAnswer { error: Some(error), stream }) => refused(&error, stream.as_deref()),
        Ok(PublishAnswer { stream: Some(_), error: None }) => Answer::Stored,
        _ => not_now(
            "not acknowledged",
            "somebody else than a stream answers on this subject; choose another".to_owned(),
        ),
    }
}

fn refused(ApiError { err_code, description }: &ApiError, stream: Option<&str>) -> Answer {
    let stream = stream.map_or("the stream".to_owned(), |name| format!("stream {name}"));
    // The words are the server's, which may not fill our ledger with causes.
    let said = description;
    match *err_code {
        code::TOO_LONG => Answer::Never(failure(
            "message too long",
            format!("{stream}: {said}; raise its limit (max-msg-size), or give less --nats-batch"),
        )),
        code::NOT_STORED if said.contains("maximum") => not_now(
            "stream full",
            format!("{stream} is full: {said}; raise its limits, or let it discard old messages"),
        ),
        code::SEALED => {
            not_now("stream sealed", format!("{stream}: {said}; choose another subject"))
        }
        code if code::NOT_ENABLED.contains(&code) => not_now(
            "no jetstream",
            format!("{stream}: {said}; enable JetStream in the server, and for this account"),
        ),
        code if code::NO_RESOURCES.contains(&code) => not_now(
            "no room on the server",
            format!("{stream}: {said}; give the server more room for JetStream"),
        ),
        code => not_now(&format!("jetstream error {code}"), format!("{stream}: {said}")),
    }
}

/// A message that the server would not even read.
pub(super) fn too_long(bytes: usize, most: usize) -> Failure {
    failure(
        "message too long",
        format!(
            "a message has {bytes} bytes, and the server takes {most}; raise its max_payload, or \
             give less --nats-batch"
        ),
    )
}

fn not_now(cause: &str, text: String) -> Answer {
    Answer::NotNow(failure(cause, text))
}

/// What goes wrong, told in words that may be the server's: not too many of them, and nothing that
/// does something to a terminal.
pub(super) fn failure(cause: &str, text: String) -> Failure {
    let is_fine = !text.contains(char::is_control) && text.len() <= TEXT_CHARS;
    let text = if is_fine {
        text
    } else {
        let shown = |letter: char| match letter.is_control() {
            true => letter.escape_unicode().to_string(),
            false => letter.to_string(),
        };
        text.chars().take(TEXT_CHARS).map(shown).collect()
    };
    Failure { cause: cause.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_server_do_nothing_to_a_terminal() {
        let text = format!("\u{1b}]0;x\u{7}\n{}", "é".repeat(2_000));
        let Failure { text, .. } = failure("x", text);
        assert!(text.starts_with("\\u{1b}]0;x\\u{7}\\u{a}é") && text.len() < 2_000, "{text}");
        assert!(!text.contains(char::is_control));
    }

    #[test]
    fn answers_are_told_apart() {
        let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"F","seq":0}"#;
        let long = r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"F","seq":0}"#;
        let off =
            r#"{"error":{"code":503,"err_code":10076,"description":"JetStream not enabled"}}"#;
        let other = r#"{"error":{"code":500,"err_code":12345,"description":"odd"}}"#;
        for (status, text, said) in [
            (None, r#"{"stream":"F","seq":7}"#, ""),
            (None, r#"{"stream":"F","seq":7,"duplicate":true,"domain":"d"}"#, ""),
            (Some(503), "", "later, no stream: no stream takes"),
            (None, full, "later, stream full: stream F is full: maximum messages exceeded; raise"),
            (None, long, "never, message too long: stream F: message size exceeds"),
            (None, off, "later, no jetstream: the stream: JetStream not enabled; enable"),
            (None, other, "later, jetstream error 12345: the stream: odd"),
            (None, "+OK", "later, not acknowledged: somebody else"),
            (None, "{}", "later, not acknowledged: somebody else"),
        ] {
            let shown = match answer(status, text.as_bytes()) {
                Answer::Stored => String::new(),
                Answer::NotNow(Failure { cause, text }) => format!("later, {cause}: {text}"),
                Answer::Never(Failure { cause, text }) => format!("never, {cause}: {text}"),
            };
            assert!(shown.starts_with(said) && shown.is_empty() == said.is_empty(), "{shown}");
        }
    }
}
