//! Figures over HTTP, for Prometheus.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::relay::Relay;
use crate::server::BREATH;
use crate::store::Store;
use crate::upkeep::count_stored;

/// Connections at a time.
const CONNECTIONS: usize = 8;

/// For a request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// OpenMetrics, of which Prometheus's text format is a part.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens for Prometheus.
///
/// # Errors
/// If the address can't be used.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("`metrics.listen`: can't listen on {address}"))
}

/// Answers `GET /metrics` for as long as it is polled.
pub(crate) async fn serve<S: Store>(listener: TcpListener, relay: Arc<Relay<S>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // A lack of files or memory passes.
            sleep(BREATH).await;
            continue;
        };
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            let answer =
                service_fn(async |request| Ok::<_, Infallible>(answer(&relay, &request).await));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            if let Err(error) = served {
                tracing::debug!("metrics connection: {error}");
            }
            drop(permit);
        });
    }
}

async fn answer<S: Store>(relay: &Relay<S>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            if let Err(error) = count_stored(relay).await {
                relay.store_error(&error);
            }
            (StatusCode::OK, relay.metrics.prometheus())
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            "the figures are at /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let header = match status {
        StatusCode::OK => (CONTENT_TYPE, FORMAT),
        StatusCode::METHOD_NOT_ALLOWED => (ALLOW, "GET"),
        _ => return response,
    };
    let (name, value) = header;
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}
