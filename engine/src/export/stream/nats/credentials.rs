//! Who we are to a server: what a file for `--nats-creds` holds. It is read once.
//!
//! Either what NATS's tools write (`nsc generate creds`: a JWT and a seed), or lines of our own:
//! `user: NAME` and `password: TEXT`, or `token: TEXT`, or `nkey: SEED`; lines that begin with `#`
//! are passed over.

use std::fmt;
use std::fs;
use std::path::Path;

use async_nats::ConnectOptions;

use crate::error::{Error, Result};

/// What the file of NATS's tools has in it.
const JWT: &str = "-----BEGIN NATS USER JWT-----";

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::export) enum Credentials {
    /// The file of NATS's tools.
    Jwt(String),
    /// A name and a password.
    User(String, String),
    /// A token.
    Token(String),
    /// The seed of a key.
    Nkey(String),
}

/// Nothing of it is shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or says nothing that is known.
    pub(in crate::export) fn read(path: &Path) -> Result<Self> {
        let operation = format!("read {}", path.display());
        let text = fs::read_to_string(path).map_err(|error| Error::new(&*operation, error))?;
        Self::parse(&text).map_err(|cause| {
            Error::new(operation, cause).advise(
                "give a file of nsc or nk, or one with user: NAME and password: TEXT, token: TEXT, \
                 or nkey: SEED",
            )
        })
    }

    /// What a text says. What it holds is in no error.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        if text.contains(JWT) {
            let is_whole = ConnectOptions::with_credentials(text).is_ok();
            let whole = is_whole.then(|| Self::Jwt(text.to_owned()));
            return whole.ok_or_else(|| "it is no whole file of credentials".to_owned());
        }
        let (mut user, mut password, mut token, mut nkey) = (None, None, None, None);
        let lines = text.lines().map(str::trim).zip(1..);
        for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            let wrong = |what: &str| Err(format!("line {number}: {what}"));
            let place = match line.split_once(':') {
                // What `nk -gen user` writes.
                None if line.starts_with("SU") => (&mut nkey, line),
                None => return wrong("not a name and a value"),
                Some((name, value)) => match name.trim() {
                    "user" => (&mut user, value),
                    "password" => (&mut password, value),
                    "token" => (&mut token, value),
                    "nkey" => (&mut nkey, value),
                    _ => return wrong("unknown name"),
                },
            };
            let (place, value) = (place.0, place.1.trim());
            if value.is_empty() || place.replace(value.to_owned()).is_some() {
                return wrong("nothing in it, or given twice");
            }
        }
        match (user, password, token, nkey) {
            (Some(user), Some(password), None, None) => Ok(Self::User(user, password)),
            (None, None, Some(token), None) => Ok(Self::Token(token)),
            (None, None, None, Some(nkey)) => Ok(Self::Nkey(nkey)),
            (None, None, None, None) => Err("it says nothing".to_owned()),
            _ => Err("a user and a password, or a token, or a key: one of them".to_owned()),
        }
    }

    /// Options of a connection.
    pub(super) fn options(&self) -> ConnectOptions {
        match self {
            // It could be read when it was parsed.
            Self::Jwt(text) => ConnectOptions::with_credentials(text).unwrap_or_default(),
            Self::User(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Self::Token(token) => ConnectOptions::with_token(token.clone()),
            Self::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_we_are() {
        let user = Credentials::User("a b".to_owned(), "p:w #1".to_owned());
        for (text, want) in [
            ("user: a b\npassword: p:w #1\n", user.clone()),
            ("# ours\n\n password:p:w #1 \r\nuser :a b", user),
            ("token: t", Credentials::Token("t".to_owned())),
            ("nkey: SUA", Credentials::Nkey("SUA".to_owned())),
            ("SUA\n", Credentials::Nkey("SUA".to_owned())),
        ] {
            assert!(Credentials::parse(text) == Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_not_shown() {
        for (text, said) in [
            ("", "says nothing"),
            ("user: secret", "one of them"),
            ("user: secret\npassword: secret\ntoken: secret", "one of them"),
            ("token: secret\ntoken: secret", "line 2: nothing in it, or given twice"),
            ("token:", "line 1: nothing"),
            ("# x\npass: secret", "line 2: unknown name"),
            ("secret", "line 1: not a name"),
            ("-----BEGIN NATS USER JWT-----\nsecret", "no whole file"),
        ] {
            let error = Credentials::parse(text).unwrap_err();
            assert!(error.contains(said) && !error.contains("secret"), "{text}: {error}");
        }
        let shown = format!("{:?}", Credentials::Token("secret".to_owned()));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
