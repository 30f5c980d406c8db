//! URLs that stand in files of their own: secrets as systemd, Kubernetes and Docker hand them over. What the
//! environment says wins over what the configuration's file says, be it the URL or the URL's file.

use std::path::PathBuf;

use figment::Figment;

use super::{Config, SecretUrl};

/// Puts the URLs from their files where the URLs are; a file that does not count is forgotten. A problem is a
/// key, and what is wrong with it.
pub(super) fn read(config: &mut Config, given: &Figment, mut problem: impl FnMut(&str, String)) {
    let mut url_in = |section: &str, file: &mut Option<PathBuf>| match which(given, section) {
        Which::Url => {
            *file = None;
            None
        }
        Which::Both => {
            problem(&format!("{section}.url_file"), "url is set beside it; keep one of the two".into());
            None
        }
        Which::File => file.as_ref().and_then(|file| {
            content(file).map_err(|what| problem(&format!("{section}.url_file"), what)).ok()
        }),
    };
    if let Some(url) = url_in("postgres", &mut config.postgres.url_file) {
        config.postgres.url = url;
    }
    if let Some(url) = url_in("store", &mut config.store.url_file) {
        config.store.url = Some(url);
    }
}

enum Which {
    Url,
    File,
    /// One place says both.
    Both,
}

fn which(given: &Figment, section: &str) -> Which {
    let is_environment = |key: &str| {
        let found = given.find_metadata(&format!("{section}.{key}"));
        found.map(|metadata| metadata.name.contains("environment"))
    };
    match (is_environment("url"), is_environment("url_file")) {
        (Some(url), Some(file)) if url == file => Which::Both,
        (_, Some(true)) | (None, Some(false)) => Which::File,
        (_, None) | (Some(_), Some(false)) => Which::Url,
    }
}

/// The file's one line. Somebody may have put the URL itself where its file should stand.
fn content(file: &PathBuf) -> Result<SecretUrl, String> {
    let shown = SecretUrl::from(file.display().to_string().as_str());
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: cannot read it: {error}"))?;
    match text.trim() {
        "" => Err(format!("{shown}: it is empty; it must hold the URL")),
        url => Ok(SecretUrl::from(url)),
    }
}
