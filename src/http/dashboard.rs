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

/// Whether the dashboard has a file at this path.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(file, ..)| *file == path)
}

/// Another version of the program has other files under the same names, so they are asked for each time.
fn headers(media_type: &'static str) -> [(HeaderName, &'static str); 3] {
    [(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")]
}

#[cfg(test)]
mod tests {
    use super::FILES;

    /// What stands between `before` and `after`, wherever it does.
    fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
    }

    #[test]
    fn what_a_file_loads_is_served() {
        let mut loaded = vec!["/".to_owned()];
        for (_, _, text) in FILES {
            loaded.extend(between(text, "from './", "'").map(|name| format!("/{name}")));
            for attribute in ["src=\"", "rel=\"stylesheet\" href=\""] {
                loaded.extend(between(text, attribute, "\"").map(str::to_owned));
            }
        }
        for path in &loaded {
            assert!(super::has(path), "nothing is served at {path}");
        }
        for (path, ..) in FILES {
            assert!(loaded.iter().any(|it| it == path), "{path} is loaded by nothing");
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_elsewhere() {
        for (path, _, text) in FILES {
            for refused in
                ["<style", " style=", " onclick=", "javascript:", ".innerHTML", "insertAdjacentHTML", "eval("]
            {
                assert!(!text.contains(refused), "{path} has {refused}");
            }
            // The name of SVG is no address.
            let elsewhere = between(text, "://", "\"").any(|rest| !rest.starts_with("www.w3.org/2000/svg"));
            assert!(!elsewhere, "{path} names an address");
        }
    }
}
