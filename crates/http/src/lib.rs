//! Routes, SSE, authentication, metrics.
