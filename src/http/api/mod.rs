//! The API under `/api/v1`.

use std::sync::Arc;

use axum::Router;

use super::Shared;

/// All its paths, whole.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
}
