//! The dashboard: three files that are in the program, and may load nothing from elsewhere.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::routing::get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and what it loads.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |media_type, text| get(move || async move { (headers(media_type), text) });
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("dashboard/index.html")))
        .route("/app.js", file("text/javascript; charset=utf-8", include_str!("dashboard/app.js")))
        .route("/style.css", file("text/css; charset=utf-8", include_str!("dashboard/style.css")))
}

/// Another version of the program has other files under the same names, so they are asked for each time.
fn headers(media_type: &'static str) -> [(HeaderName, &'static str); 3] {
    [(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")]
}
