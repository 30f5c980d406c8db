//! TLS for a driver that has none: one listener on loopback for one session, and what comes in goes out
//! encrypted, to a server whose certificate was verified before the driver hears of it.
//!
//! Another program of this machine could reach the listener before the driver does. It would gain a
//! connection that nobody has logged in on, which it could have opened by itself; the driver is then turned
//! away, and tries again. User and password are the driver's own, inside, and proved without being sent.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// A peer that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the driver may take to come in.
const ACCEPT: Duration = Duration::from_secs(5);

/// How to make sure of the server, and it of us.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// Certificates to trust instead of the public ones.
    pub(super) ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Connects, verifies, and opens a way in for one session; its port. It closes with the session.
///
/// # Errors
/// Whatever is in the way, in words for an operator.
pub(super) async fn open(host: &str, port: u16, tls: &Tls) -> Result<u16, String> {
    let config = tls.config()?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| format!("{host:?} cannot be the name in a certificate"))?;
    let socket = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    keep_alive(&socket).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut far = connector.connect(name, socket).await.map_err(|error| explain(&error))?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
    let way_in = listener.local_addr().map_err(|error| error.to_string())?.port();
    tokio::spawn(async move {
        if let Ok(Ok((mut near, _))) = timeout(ACCEPT, listener.accept()).await {
            drop(listener);
            let _ = near.set_nodelay(true);
            // How it ends is seen by the driver, whose end of it closes too.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    });
    Ok(way_in)
}

impl Tls {
    /// Reads the files; also to say early what is wrong with them.
    pub(super) fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(ca) => {
                for certificate in certificates(ca)? {
                    roots.add(certificate).map_err(|error| problem(ca, &error))?;
                }
            }
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match &self.client {
            None => Ok(config.with_no_client_auth()),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(key, &error))?;
                config.with_client_auth_cert(chain, secret).map_err(|error| problem(key, &error))
            }
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let reader = BufReader::new(File::open(file).map_err(|error| problem(file, &error))?);
    let found: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(reader).collect();
    match found.map_err(|error| problem(file, &error))? {
        none if none.is_empty() => Err(problem(file, &"it holds no certificate")),
        certificates => Ok(certificates),
    }
}

fn problem(file: &Path, what: &dyn std::fmt::Display) -> String {
    format!("{}: {what}", file.display())
}

/// A connection whose other end has vanished is noticed by the system.
fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(SILENCE / 3).with_interval(Duration::from_secs(2));
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_nodelay(true)
}

/// A server without TLS closes, or answers in its own protocol.
fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::InvalidData if text.contains("certificate") => format!("TLS: {text}"),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("TLS: {text}; does the server speak TLS on this port?")
        }
        _ => format!("TLS: {text}"),
    }
}
