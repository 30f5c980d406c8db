//! The API under `/api/v1`, as `openapi.json` describes it.

mod asked;
mod beside;
mod events;
mod live;
mod operate;
mod problems;
mod room;
mod status;
mod streams;
mod wait;

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::Shared;
use super::access::only_json;
use room::Room;

/// The description of all this.
const OPENAPI: &str = include_str!("../openapi.json");

/// All its paths, whole.
pub(super) fn router() -> Router<Arc<Shared>> {
    let router = Router::new();
    routes()
        .into_iter()
        .fold(router, |router, it| router.route(it.path, it.answer))
        .layer(Extension(Room::new()))
}

/// A path with a method, and what answers there.
struct Route {
    path: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "held against the description"))]
    method: &'static str,
    answer: MethodRouter<Arc<Shared>>,
}

/// In the order of the description.
fn routes() -> Vec<Route> {
    vec![
        read("/api/v1/openapi.json", async || ([(CONTENT_TYPE, "application/json")], OPENAPI)),
        read("/api/v1/status", status::status),
        read("/api/v1/status/live", live::status),
        read("/api/v1/projections", status::projections),
        read("/api/v1/projections/{name}", status::projection),
        read("/api/v1/projections/{name}/wait", wait::wait),
        read("/api/v1/projections/{name}/plan", beside::plan),
        read("/api/v1/projections/{name}/differences", beside::differences),
        change("/api/v1/projections/{name}/pause", operate::pause),
        change("/api/v1/projections/{name}/resume", operate::resume),
        change("/api/v1/projections/{name}/rebuild", operate::rebuild),
        change("/api/v1/projections/{name}/cancel", operate::cancel),
        change("/api/v1/projections/{name}/swap", operate::swap),
        change("/api/v1/projections/{name}/undo", operate::undo),
        change("/api/v1/projections/{name}/retry", operate::retry),
        change("/api/v1/projections/{name}/skip", operate::skip),
        read("/api/v1/parked", operate::parked),
        read("/api/v1/operations", operate::operations),
        read("/api/v1/events", events::events),
        read("/api/v1/events/live", live::events),
        read("/api/v1/streams/{stream}", streams::load),
        change("/api/v1/streams/{stream}", streams::append),
        read("/api/v1/streams/{stream}/rows", streams::rows),
    ]
}

fn read<T: 'static>(path: &'static str, answer: impl Handler<T, Arc<Shared>>) -> Route {
    Route { path, method: "get", answer: get(answer) }
}

fn change<T: 'static>(path: &'static str, answer: impl Handler<T, Arc<Shared>>) -> Route {
    // Where nothing is done by this method, or there is nothing, the router says so before anybody asks for a type.
    Route { path, method: "post", answer: post(answer).route_layer(from_fn(only_json)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// What is described with it, and answered elsewhere.
    const BESIDE: [&str; 4] = ["/livez", "/readyz", "/metrics", "/api/v1/history"];

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let api: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<String> = api["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |it| (path, it)))
            .filter(|(path, method)| *method != "parameters" && !BESIDE.contains(&path.as_str()))
            .map(|(path, method)| format!("{method} {path}"))
            .collect();
        let answered: BTreeSet<String> =
            routes().iter().map(|it| format!("{} {}", it.method, it.path)).collect();
        assert_eq!(described, answered);
        for path in BESIDE {
            assert!(api["paths"][path]["get"].is_object(), "{path}");
        }
        assert_eq!(answered.len(), routes().len(), "each is there once");
    }

    #[test]
    fn the_description_names_nothing_that_it_does_not_have() {
        let api: Value = serde_json::from_str(OPENAPI).unwrap();
        for reference in OPENAPI.split("\"$ref\": \"#").skip(1) {
            let place = reference.split('"').next().unwrap();
            assert!(api.pointer(place).is_some(), "{place}");
        }
    }
}
