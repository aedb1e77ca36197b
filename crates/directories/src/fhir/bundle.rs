//! Answers to searches: bundles of resources, page by page (FHIR R4, sections 3.1.1 and "Bundle").

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::Fault;

/// Longest page: 16 MiB.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;
/// Pages of one search at most.
const PAGES_MAX: usize = 5_000;
/// Resources of one search at most.
const RESOURCES_MAX: usize = 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_type: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Link {
    relation: String,
    url: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    resource: Value,
    #[serde(default)]
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    mode: String,
}

/// The pages of one search.
#[derive(Debug)]
pub(crate) struct Pages {
    seen: HashSet<Url>,
    resources: usize,
    /// What was searched for, without what was included.
    pub(crate) matched: u64,
    /// How many there are, as the first page says that says so.
    pub(crate) total: Option<u64>,
}

impl Pages {
    pub(crate) fn new(first: &Url) -> Self {
        Self { seen: HashSet::from([first.clone()]), resources: 0, matched: 0, total: None }
    }

    /// Reads a page and hands its resources on. Returns where the next one is.
    pub(crate) fn read(
        &mut self,
        from: &Url,
        page: &[u8],
        mut each: impl FnMut(Value) -> Result<(), Fault>,
    ) -> Result<Option<Url>, Fault> {
        let bundle: Bundle =
            serde_json::from_slice(page).map_err(|_| Fault::Malformed("something that is no bundle"))?;
        if bundle.resource_type != "Bundle" || bundle.kind != "searchset" {
            return Err(Fault::Malformed("a resource that is no result of a search"));
        }
        self.total = self.total.or(bundle.total);
        self.resources += bundle.entry.len();
        if self.resources > RESOURCES_MAX {
            return Err(Fault::TooMuch("resources", RESOURCES_MAX));
        }
        for Entry { resource, search } in bundle.entry {
            if is_failure(&resource) {
                return Err(Fault::Partial);
            }
            self.matched += u64::from(search.is_none_or(|search| search.mode != "include" && search.mode != "outcome"));
            each(resource)?;
        }
        let next = bundle.link.iter().find(|link| link.relation == "next");
        next.map(|link| self.next(from, &link.url)).transpose()
    }

    /// A link, which must lead on within the same directory: it gets the token.
    fn next(&mut self, from: &Url, link: &str) -> Result<Url, Fault> {
        let url = from.join(link).map_err(|_| Fault::Astray)?;
        if url.origin() != from.origin() || !url.origin().is_tuple() || !self.seen.insert(url.clone()) {
            return Err(Fault::Astray);
        }
        if self.seen.len() > PAGES_MAX { Err(Fault::TooMuch("pages", PAGES_MAX)) } else { Ok(url) }
    }
}

/// Whether an entry says that something went wrong with the search.
fn is_failure(resource: &Value) -> bool {
    let severe = |issue: &Value| matches!(issue["severity"].as_str(), Some("fatal" | "error"));
    let issues = resource["issue"].as_array();
    resource["resourceType"] == "OperationOutcome" && issues.is_none_or(|issues| issues.iter().any(severe))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use url::Url;

    use super::{PAGES_MAX, Pages};
    use crate::Fault;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn read(page: &Value) -> Result<Option<Url>, Fault> {
        let first = url("https://ehr.h1/fhir/PractitionerRole?_count=200");
        Pages::new(&first).read(&first, page.to_string().as_bytes(), |_| Ok(()))
    }

    fn page(next: &str) -> Value {
        json!({ "resourceType": "Bundle", "type": "searchset", "link": [{ "relation": "next", "url": next }] })
    }

    #[test]
    fn pages_lead_on_within_the_directory() {
        for (link, next) in [
            ("https://ehr.h1/fhir?page=2", "https://ehr.h1/fhir?page=2"),
            ("/other?page=2", "https://ehr.h1/other?page=2"),
            ("?page=2", "https://ehr.h1/fhir/PractitionerRole?page=2"),
        ] {
            assert_eq!(read(&page(link)).unwrap(), Some(url(next)), "{link}");
        }
        for astray in [
            "https://ehr.h2/fhir",
            "http://ehr.h1/fhir",
            "https://ehr.h1:444/fhir",
            "//h2/x",
            "?_count=200",
            "file:///x",
        ] {
            assert!(matches!(read(&page(astray)), Err(Fault::Astray)), "{astray}");
        }
    }

    #[test]
    fn there_is_an_end_to_pages() {
        let first = url("https://ehr.h1/fhir/PractitionerRole");
        let (mut pages, mut from) = (Pages::new(&first), first);
        for number in 0..=PAGES_MAX {
            match pages.read(&from, page(&format!("?page={number}")).to_string().as_bytes(), |_| Ok(())) {
                Ok(next) => from = next.unwrap(),
                Err(fault) => {
                    assert!(matches!(fault, Fault::TooMuch("pages", PAGES_MAX)));
                    return;
                }
            }
        }
        panic!("there was none");
    }

    #[test]
    fn what_is_no_result_is_told() {
        let outcome = |severity: &str| {
            let outcome = json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": severity }] });
            read(&json!({ "resourceType": "Bundle", "type": "searchset", "entry": [{ "resource": outcome }] }))
        };
        assert!(matches!(outcome("error"), Err(Fault::Partial)) && outcome("warning").is_ok());
        for page in [
            json!({ "resourceType": "Practitioner" }),
            json!({ "resourceType": "Bundle", "type": "history" }),
            json!({ "resourceType": "Bundle", "type": "searchset", "entry": {} }),
            json!([]),
        ] {
            assert!(matches!(read(&page), Err(Fault::Malformed(_))), "{page}");
        }
    }

    proptest! {
        #[test]
        fn no_page_is_too_much(page in "\\PC{0,60}") {
            let first = url("https://ehr.h1/fhir");
            let _ = Pages::new(&first).read(&first, page.as_bytes(), |_| Ok(()));
        }
    }
}
