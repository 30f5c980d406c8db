//! The dashboard: files that are in the program, and may load nothing from elsewhere.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::routing::get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The path of each file, and what is in it.
macro_rules! files {
    ($($path:literal, $media_type:expr, $file:literal;)*) => {
        [$(($path, $media_type, include_str!(concat!("dashboard/", $file)))),*]
    };
}

const FILES: [(&str, &str, &str); 17] = files! {
    "/", HTML, "index.html";
    "/style.css", STYLE, "style.css";
    "/theme.js", SCRIPT, "theme.js";
    "/app.js", SCRIPT, "app.js";
    "/api.js", SCRIPT, "api.js";
    "/dom.js", SCRIPT, "dom.js";
    "/words.js", SCRIPT, "words.js";
    "/verdict.js", SCRIPT, "verdict.js";
    "/history.js", SCRIPT, "history.js";
    "/picture.js", SCRIPT, "picture.js";
    "/card.js", SCRIPT, "card.js";
    "/builds.js", SCRIPT, "builds.js";
    "/failure.js", SCRIPT, "failure.js";
    "/actions.js", SCRIPT, "actions.js";
    "/lists.js", SCRIPT, "lists.js";
    "/tail.js", SCRIPT, "tail.js";
    "/stream.js", SCRIPT, "stream.js";
};

/// The page and what it loads.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, media_type, text)| {
        router.route(path, get(move || async move { (headers(media_type), text) }))
    })
}

/// Another version of the program has other files under the same names, so they are asked for each time.
fn headers(media_type: &'static str) -> [(HeaderName, &'static str); 3] {
    [(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")]
}
