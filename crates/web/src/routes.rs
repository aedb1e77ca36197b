//! Registration of handlers under ruma's paths.

use std::{future::Future, panic::resume_unwind};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{Method, StatusCode};
use ruma::api::{IncomingRequest, error::ErrorKind, path_builder::PathBuilder as _};
use tracing::{Instrument as _, Span};
use wardroom_audit::origin;

use crate::{ApiError, ApiState, Demand, Ruma, guests};

/// One method of one path, in axum's pattern syntax (`{name}`), which is ruma's too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path pattern.
    pub path: String,
}

/// Routes of one API, and the list of them.
///
/// `Routes::new().endpoint(login).endpoint(logout)`: the request type of ruma's in a handler's signature says where
/// the handler lives.
#[derive(Debug)]
pub struct Routes<S> {
    router: Router<S>,
    listed: Vec<Route>,
}

impl<S: ApiState> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: ApiState> Routes<S> {
    /// No routes yet.
    pub fn new() -> Self {
        Self { router: Router::new(), listed: Vec::new() }
    }

    /// Serves `T` at every path ruma knows for it.
    pub fn endpoint<T, F, Fut, R, E>(self, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::Authentication: Demand,
        F: Fn(State<S>, Ruma<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: IntoResponse + 'static,
        E: IntoResponse + 'static,
    {
        let paths: Vec<&'static str> = T::PATH_BUILDER.all_paths().collect();
        self.endpoint_at(&paths, handler)
    }

    /// As [`Self::endpoint`], for a request that only reads although its method is not GET: it ends with its connection.
    pub fn reading_endpoint<T, F, Fut, R, E>(self, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::Authentication: Demand,
        F: Fn(State<S>, Ruma<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: IntoResponse + 'static,
        E: IntoResponse + 'static,
    {
        let paths: Vec<&'static str> = T::PATH_BUILDER.all_paths().collect();
        self.serve(&paths, true, handler)
    }

    /// Serves `T` at these paths instead: for the ones that ruma's list lacks (call it beside [`Self::endpoint`]).
    /// Their variables must be a number and order that `T` reads.
    pub fn endpoint_at<T, F, Fut, R, E>(self, paths: &[&str], handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::Authentication: Demand,
        F: Fn(State<S>, Ruma<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: IntoResponse + 'static,
        E: IntoResponse + 'static,
    {
        self.serve(paths, T::METHOD == Method::GET, handler)
    }

    /// Serves `T` at these paths; a request that only `reads` ends with its connection.
    fn serve<T, F, Fut, R, E>(mut self, paths: &[&str], reads: bool, handler: F) -> Self
    where
        T: IncomingRequest + Send + 'static,
        T::Authentication: Demand,
        F: Fn(State<S>, Ruma<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: IntoResponse + 'static,
        E: IntoResponse + 'static,
    {
        #[expect(clippy::expect_used, reason = "ruma's endpoints use the common methods, and tests register them all")]
        let filter = MethodFilter::try_from(T::METHOD).expect("a method that axum routes");
        for path in paths {
            let handler = handler.clone();
            let guests = guests::may_use(&T::METHOD, path);
            let serve =
                move |State(state): State<S>, request: Request| answer(state, request, guests, reads, handler.clone());
            self.router = self.router.route(path, on(filter, serve));
            self.listed.push(Route { method: T::METHOD, path: (*path).to_owned() });
        }
        self
    }

    /// Serves something that ruma has no type for.
    pub fn plain<H, A>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: axum::handler::Handler<A, S>,
        A: 'static,
    {
        #[expect(clippy::expect_used, reason = "the callers name the method as a constant")]
        let filter = MethodFilter::try_from(method.clone()).expect("a method that axum routes");
        self.router = self.router.route(path, on(filter, handler));
        self.listed.push(Route { method, path: path.to_owned() });
        self
    }

    /// Both sets of routes.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.listed.extend(other.listed);
        self
    }

    /// What is served.
    pub fn listed(&self) -> &[Route] {
        &self.listed
    }

    /// The router, with its state.
    pub fn into_router(self, state: S) -> Router {
        self.router.with_state(state)
    }
}

/// Reads the request, runs the handler, writes the answer.
async fn answer<S, T, F, Fut, R, E>(state: S, request: Request, guests: bool, reads: bool, handler: F) -> Response
where
    S: ApiState,
    T: IncomingRequest + Send + 'static,
    T::Authentication: Demand,
    F: Fn(State<S>, Ruma<T>) -> Fut,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: IntoResponse,
    E: IntoResponse,
{
    let request = match Ruma::<T>::read(request, &state, guests).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let work = handler(State(state), request);
    let answer = async { work.await.into_response() };
    if reads { answer.await } else { to_the_end(answer).await }
}

/// Runs what changes something to its end, even if the client hangs up in the middle: half a room is nobody's wish.
pub async fn to_the_end(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(origin::carry(answer).instrument(Span::current())).await {
        Ok(response) => response,
        Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
        Err(_) => {
            let sentence = "The server is shutting down.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unknown, sentence).into_response()
        }
    }
}
