//! TLS to a collector, as it says who it is, and we do if asked (RFC 7011 section 11).
//!
//! It refuses a collector whose certificate is of an unknown authority, has expired, or is for
//! another name. There is no way around that.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error as TlsError, OtherError,
    ProtocolVersion, RootCertStore, crypto,
};

use super::connection::Failure;
use crate::error::{Error, Result};
use crate::limits::{COLLECTOR_CONNECT, COLLECTOR_STANDS};
use crate::sync::Arc;

/// Files that say whom to trust, and who we are (PEM).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities; without it those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, and those between it and an authority.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// What connections to a collector have in common.
pub(in crate::export) type TlsConfig = Arc<ClientConfig>;

impl TlsFiles {
    /// Reads them, which may take a privilege that is given up later.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it should be.
    pub(in crate::export) fn load(&self) -> Result<TlsConfig> {
        let provider = Arc::new(crypto::ring::default_provider());
        let fail = |error: TlsError| Error::new("set up TLS", error);
        let roots = Arc::new(self.roots()?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| Error::new("set up TLS", error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(fail)?
            .with_webpki_verifier(verifier);
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (chain, private) = (certificates(cert)?, private_key(key)?);
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    Error::new(format!("use {}", cert.display()), error)
                        .advise(format!("see that {} is its key", key.display()))
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca else {
            // Some of a system's may be of no use.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::new("set up TLS", "this system trusts no authority")
                    .advise("name the collector's with --tls-ca"));
            }
            return Ok(roots);
        };
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| {
                Error::new(format!("use {}", path.display()), error)
                    .advise("give certificates of authorities in PEM")
            })?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let fail = |cause: String| {
        Error::new(format!("read {}", path.display()), cause).advise("give certificates in PEM")
    };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?;
    let all: std::result::Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| fail(error.to_string()))?;
    if all.is_empty() { Err(fail("no certificate in it".to_owned())) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        Error::new(format!("read {}", path.display()), error)
            .advise("give a private key in PEM, without a passphrase")
    })
}

/// A connection that is encrypted.
pub(super) struct TlsStream {
    connection: ClientConnection,
    stream: TcpStream,
    /// Bytes that were given to the socket: more than the text has.
    sent: u64,
}

impl TlsStream {
    /// Agrees on keys, and checks that the collector is `host`.
    pub(super) fn open(
        stream: TcpStream,
        host: &str,
        config: &TlsConfig,
    ) -> std::result::Result<Self, Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure {
            cause: "no name for TLS".to_owned(),
            text: error.to_string(),
        })?;
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| refusal(&error, host))?;
        stream.set_read_timeout(Some(COLLECTOR_CONNECT)).map_err(|e| failure(e, host))?;
        let mut this = Self { connection, stream, sent: 0 };
        while this.connection.is_handshaking() {
            let Self { connection, stream, .. } = &mut this;
            connection.complete_io(stream).map_err(|error| failure(error, host))?;
        }
        // A collector that refuses our certificate, or misses it, says so when it has all, and
        // else gives a ticket; what is sent meanwhile would be lost (RFC 8446 section 4.4.2.4).
        let is_unsure = this.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if is_unsure
            && is_readable(&this.stream, COLLECTOR_STANDS.as_millis())
                .map_err(|error| failure(error, host))?
            && this.hear().map_err(|error| failure(error, host))?
        {
            let text = "the collector has closed the connection".to_owned();
            return Err(Failure { cause: "connection closed".to_owned(), text });
        }
        Ok(this)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Bytes that were given to the socket.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes a piece of text, to be [written](Self::write).
    pub(super) fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(piece)
    }

    /// Whether there is something to write.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Gives the socket as much as it takes.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.sent += self.connection.write_tls(&mut self.stream)? as u64;
        Ok(())
    }

    /// Whether the collector has ended the connection; what it says otherwise is not kept.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        if is_readable(&self.stream, 0)? { self.hear() } else { Ok(false) }
    }

    /// Hears what the collector says. Whether that was the end.
    fn hear(&mut self) -> io::Result<bool> {
        if self.connection.read_tls(&mut self.stream)? == 0 {
            return Ok(true);
        }
        let state = self.connection.process_new_packets();
        let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut rest = vec![0; state.plaintext_bytes_to_read()];
        self.connection.reader().read_exact(&mut rest)?;
        Ok(state.peer_has_closed())
    }
}

/// The collector is told that this is the end, and not somebody who cuts the line.
impl Drop for TlsStream {
    fn drop(&mut self) {
        self.connection.send_close_notify();
        // One that takes nothing is not waited for long.
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(Some(COLLECTOR_STANDS));
        let _ = self.connection.write_tls(&mut self.stream);
    }
}

/// Whether there is something to read, or the end, within some milliseconds.
fn is_readable(stream: &TcpStream, ms: u128) -> io::Result<bool> {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(ms).unwrap_or(PollTimeout::ZERO);
    Ok(poll(&mut fds, timeout)? != 0)
}

/// What has failed, in words, if it is TLS's.
fn failure(error: io::Error, host: &str) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(inner) => refusal(inner, host),
        None if error.kind() == io::ErrorKind::WouldBlock => {
            io::Error::from(io::ErrorKind::TimedOut).into()
        }
        None => error.into(),
    }
}

/// What TLS has against a connection to `host`, in words.
pub(in crate::export) fn refusal(error: &TlsError, host: &str) -> Failure {
    let (cause, text) = match error {
        TlsError::InvalidCertificate(error) => (
            "certificate refused",
            match error {
                CertificateError::UnknownIssuer => {
                    "its certificate is of an unknown authority; name that with --tls-ca".to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "its certificate has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "its certificate is not valid yet".to_owned()
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    format!("its certificate is not for {host}")
                }
                // What checks certificates has errors of its own, which are known by their names only.
                CertificateError::Other(OtherError(inner))
                    if inner.to_string() == "CaUsedAsEndEntity" =>
                {
                    "its certificate is an authority's, which cannot be a collector's or a \
                     server's own; make one for it that the authority signs"
                        .to_owned()
                }
                other => format!("its certificate is refused: {other}"),
            },
        ),
        TlsError::AlertReceived(alert) => (
            "refused by TLS",
            format!("it refuses the connection: {alert:?}; does it want --tls-cert?"),
        ),
        other => ("no TLS", other.to_string()),
    };
    Failure { cause: cause.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::UnixTime;

    use super::*;

    /// As `openssl req -x509` makes one that is its own authority.
    #[test]
    fn an_authority_is_no_collector() {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from("localhost").unwrap();
        let refused = verifier.build().unwrap().verify_server_cert(
            cert.der(),
            &[],
            &name,
            &[],
            UnixTime::now(),
        );
        let failure = refusal(&refused.unwrap_err(), "localhost");
        assert_eq!(failure.cause, "certificate refused");
        assert!(failure.text.contains("is an authority's"), "{}", failure.text);
    }
}
