//! `GET /_wardroom/admin/`: the console, a page for administrators. It does what the endpoints of this crate do, with the token
//! of who signs in; nothing of it comes from elsewhere, and it may talk to nobody else.

use axum::{
    extract::Path,
    response::{IntoResponse as _, Redirect, Response},
};
use http::{
    HeaderName, Method,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use wardroom_web::{ApiError, Routes};

use crate::endpoint::{Described, Endpoints};

const ROOT: &str = "/_wardroom/admin";
const PAGE: &str = "/_wardroom/admin/";
const FILE: &str = "/_wardroom/admin/{file}";

/// Only what this server serves runs and is asked, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:ident,)*) => {
        /// Name, type and content.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("../console/", $name))),)*];
    };
}

files! {
    "index.html" HTML,
    "console.css" CSS,
    "api.js" SCRIPT,
    "audit.js" SCRIPT,
    "chart.js" SCRIPT,
    "emergencies.js" SCRIPT,
    "holds.js" SCRIPT,
    "main.js" SCRIPT,
    "parts.js" SCRIPT,
    "retention.js" SCRIPT,
    "roles.js" SCRIPT,
    "rooms.js" SCRIPT,
}

pub(crate) fn endpoints() -> Endpoints {
    let described = |path, summary| Described { method: Method::GET, path, scope: None, summary };
    let routes = Routes::new()
        .plain(Method::GET, ROOT, async || Redirect::permanent(PAGE))
        .plain(Method::GET, PAGE, async || file("index.html"))
        .plain(Method::GET, FILE, async |Path(name): Path<String>| file(&name));
    Endpoints::new().with(
        routes,
        vec![
            described(ROOT, "Leads to the console."),
            described(PAGE, "The console: a page for administrators, who sign in there."),
            described(FILE, "A part of the console."),
        ],
    )
}

fn file(name: &str) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return ApiError::unrecognized().into_response();
    };
    let headers = [
        (CONTENT_TYPE, *kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (OPENER_POLICY, "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, *content).into_response()
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_part_is_served_and_nothing_comes_from_elsewhere() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let mut there: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut served: Vec<_> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
        for (name, _, content) in FILES {
            for foreign in ["https://", "http://"] {
                // The namespace of SVG is a name, not an address.
                let found = content.replace("http://www.w3.org/2000/svg", "").contains(foreign);
                assert!(!found, "{name} has {foreign}");
            }
            for risky in ["innerHTML", "insertAdjacentHTML", "eval(", "document.write"] {
                assert!(!content.contains(risky), "{name} has {risky}");
            }
        }
    }
}
