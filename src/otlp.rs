//! Traces by OTLP over HTTP, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says. The other variables of OpenTelemetry count
//! too: headers, timeout, service name, sampling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tracing::{info, warn};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most of an answer that is read.
const MOST: usize = 64 << 10;

/// What collects spans and sends them; none where no variable says where to. Must be called on the runtime that is to
/// do the sending.
pub(crate) fn provider() -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_set("OTEL_EXPORTER_OTLP_ENDPOINT") && !is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(None);
    }
    let client = Client { runtime: Handle::current(), is_lost: AtomicBool::new(false) };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("projectord");
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
    Ok(Some(provider.build()))
}

/// Sends on the daemon's runtime what the collecting thread, which has none, gives it.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    /// Said once.
    is_lost: AtomicBool,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let place = place(request.uri());
        // The clock of a timeout is the runtime's, too.
        let sent = self.runtime.spawn(async { tokio::time::timeout(PATIENCE, send(request)).await }).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("no answer within {PATIENCE:?}").into()),
            Err(stopped) => Err(stopped.into()),
        };
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        match (problem, self.is_lost.load(Ordering::Relaxed)) {
            (Some(error), false) => {
                warn!(%error, place, "traces are not taken; trying again with the next ones");
            }
            (None, true) => info!(place, "traces are taken again"),
            _ => {}
        }
        let is_success = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        self.is_lost.store(!is_success, Ordering::Relaxed);
        answer
    }
}

/// Without user, password and parameters.
fn place(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or(""), port(uri))
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let host = uri.host().ok_or("the endpoint names no host")?.trim_matches(['[', ']']).to_owned();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let socket = TcpStream::connect((host.as_str(), port(&uri))).await?;
    if uri.scheme_str() != Some("https") {
        return exchange(socket, request).await;
    }
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host)?;
    exchange(TlsConnector::from(Arc::new(config)).connect(name, socket).await?, request).await
}

/// One request, on a connection of its own: there is one every few seconds.
async fn exchange(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request.map(Full::new)).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MOST).collect().await?.to_bytes();
    driving.abort();
    Ok(Response::from_parts(head, body))
}
