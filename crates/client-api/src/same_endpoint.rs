//! Requests of our own at ruma's endpoints: where ruma's type reads too little or too much of a request, another type
//! stands in for it, with the same method, paths and authentication.

/// Gives `$name<T>` the method, paths and authentication of ruma's `T`.
macro_rules! same_endpoint {
    ($name:ident) => {
        impl<T: ruma::api::Metadata> ruma::api::Metadata for $name<T> {
            const METHOD: http::Method = T::METHOD;
            const RATE_LIMITED: bool = T::RATE_LIMITED;
            type Authentication = T::Authentication;
            type PathBuilder = T::PathBuilder;
            const PATH_BUILDER: T::PathBuilder = T::PATH_BUILDER;
        }
    };
}

pub(crate) use same_endpoint;
