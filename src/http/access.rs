//! Who may ask, and for what: the name that was asked for, where a changing request comes from, the token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Problem, dashboard};
use crate::config::Http;
use crate::config::tokens::{Role, Tokens};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who asks, where a token says so; for the record of what operators did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller(pub(super) Option<String>);

/// The address of ours that a connection came in on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub(super) SocketAddr);

/// The rules.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Tokens,
    hosts: Vec<String>,
}

impl Access {
    /// Reads the tokens. Whoever reaches an address beyond this machine must have one.
    pub(super) fn new(config: &Http, address: SocketAddr) -> Result<Self, String> {
        let tokens = Tokens::load(config)?;
        if tokens.is_empty() && !address.ip().is_loopback() {
            let listen = &config.listen;
            return Err(format!(
                "http.listen: {listen} can be reached from other machines, and there is no token: name a file with a \
                 line such as `operate NAME TOKEN` as [http] tokens_file, or listen on 127.0.0.1"
            ));
        }
        let named = config.listen.rsplit_once(':').map(|(host, _)| host.to_owned());
        let fixed = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let hosts = config.hosts.iter().cloned().chain(named).chain(fixed);
        Ok(Self { tokens, hosts: hosts.map(|host| host.to_ascii_lowercase()).collect() })
    }

    /// A page on another site that makes its own name lead here must not be answered.
    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let mut given = request.headers().get_all(HOST).iter();
        let (header, second) = (given.next(), given.next());
        let is_known = |authority: &str| {
            let name = host_of(authority).to_ascii_lowercase();
            let reached = request.extensions().get::<Local>().map(|local| local.0.ip());
            // The address that the connection came in on is a name that nobody can make lead here.
            let is_ours =
                |ip: IpAddr| reached.is_some_and(|reached| reached.to_canonical() == ip.to_canonical());
            let literal = name.trim_start_matches('[').trim_end_matches(']').parse();
            self.hosts.contains(&name) || literal.is_ok_and(is_ours)
        };
        let refused = |what: &str| {
            let detail = format!("{what} is no name of this daemon; allow it in [http] hosts");
            Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
        };
        match (header.map(HeaderValue::to_str), second) {
            (_, Some(_)) => return Err(Problem::new(StatusCode::BAD_REQUEST, "more than one Host")),
            (Some(Ok(host)), None) if !is_known(host) => return refused(&format!("{:?}", cut(host))),
            (Some(Err(_)), None) => return refused("the Host"),
            (None, None) if request.version() > Version::HTTP_10 => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "no Host"));
            }
            _ => {}
        }
        match request.uri().authority() {
            Some(authority) if !is_known(authority.as_str()) => {
                refused(&format!("{:?}", cut(authority.as_str())))
            }
            _ => Ok(()),
        }
    }

    /// Whose token it is, where one is needed.
    fn check_token(&self, request: &Request) -> Result<Caller, Problem> {
        let needed = needed(request.method(), request.uri().path());
        if self.tokens.is_empty() {
            return Ok(Caller(None));
        }
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        match (needed, token.map(|token| self.tokens.find(token))) {
            (None, _) => Ok(Caller(None)),
            (Some(needed), Some(Some((name, role)))) if role >= needed => Ok(Caller(Some(name.into()))),
            (Some(needed), Some(Some((name, role)))) => {
                let detail = format!("{name} may {role}, and this needs {needed}");
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
            (Some(_), found) => {
                let what = if found.is_some() { "the token is not known" } else { "a token is needed" };
                let detail = format!("{what}: send Authorization: Bearer TOKEN");
                let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
                Err(problem.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"projectord\"")))
            }
        }
    }
}

/// Lets a request through, with who asks in its extensions, or answers why not.
pub(super) async fn check(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let checked = access.check_host(&request).and_then(|()| {
        // What only asks may take as much work as a plan does, and a picture on any page asks.
        if is_change(request.method()) || request.uri().path().starts_with("/api/") {
            check_origin(request.headers())?;
        }
        access.check_token(&request)
    });
    match checked {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Lets through what says that its body is JSON. A form on another site can send text, but not that.
pub(super) async fn only_json(request: Request, next: Next) -> Response {
    match check_type(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What it takes to ask for this; nothing for what says no more than that somebody is there.
fn needed(method: &Method, path: &str) -> Option<Role> {
    match path {
        "/livez" | "/readyz" if !is_change(method) => None,
        _ if !is_change(method) && dashboard::has(path) => None,
        _ if !is_change(method) => Some(Role::Read),
        _ if path.starts_with("/api/v1/streams/") => Some(Role::Write),
        _ => Some(Role::Operate),
    }
}

/// Whether it may change anything; the others have no body.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says where a request comes from. Only a page that we served may use the API.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text =
        |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("").to_ascii_lowercase());
    let host = text(HOST).unwrap_or_default();
    let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, place)| place == host);
    let from = match (text(ORIGIN), text(FETCH_SITE)) {
        (Some(origin), _) if !is_own(&origin) => cut(&origin).to_owned(),
        (_, Some(site)) if !matches!(site.as_str(), "same-origin" | "none") => cut(&site).to_owned(),
        _ => return Ok(()),
    };
    let detail = format!("a page from elsewhere ({from}) may not ask for anything here");
    Err(Problem::new(StatusCode::FORBIDDEN, detail).kind("cross-origin"))
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = headers.get(CONTENT_TYPE).map(|value| {
        let text = value.to_str().unwrap_or("").to_ascii_lowercase();
        text.split(';').next().unwrap_or("").trim().to_owned()
    });
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        _ => {
            let detail = "send Content-Type: application/json, also where there is no body";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// A host and perhaps a port, without the port.
fn host_of(authority: &str) -> &str {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.contains(']') => host,
        _ => authority,
    }
}

/// As much of it as is repeated.
fn cut(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(at, _)| &text[..at])
}
