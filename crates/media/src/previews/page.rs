//! What a page says of itself: Open Graph properties, those of Twitter's cards in their place, and what HTML has.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use html5ever::{
    driver::{self, ParseOpts},
    tendril::{StrTendril, TendrilSink as _},
};
use scraper::{ElementRef, Html, HtmlTreeSink, Selector};
use serde_json::{Map, Value};
use url::Url;

/// Properties that are taken from a page.
const PROPERTIES_MAX: usize = 40;
/// Longest value, in characters.
const VALUE_CHARS_MAX: usize = 1_000;
/// Longest name of a property, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Elements looked at, of each kind.
const FOUND_MAX: usize = 500;
/// Text that the parser gets at a time, in bytes.
const PIECE_BYTES: usize = 2_048;
/// Tags that are parsed. What describes a page comes before; nested tags cost the parser the square of their number.
const TAGS_MAX: usize = 10_000;
/// Time for parsing: whoever finds another way to make it slow gets no further.
const PARSING_MAX: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Open Graph properties, without those of images.
    pub(crate) properties: Map<String, Value>,
    /// The image to show.
    pub(crate) image: Option<Url>,
}

/// As [`read`]; a panic of the parser is a page that says nothing.
pub(crate) fn guarded(text: &str, url: &Url) -> Page {
    catch_unwind(AssertUnwindSafe(|| read(text, url))).unwrap_or_default()
}

/// Reads a page that lies at `url`.
fn read(text: &str, url: &Url) -> Page {
    let html = parse(text);
    let mut page = Page::default();
    let mut image: Option<String> = None;
    let mut fallbacks: Vec<(&str, String)> = Vec::new();
    for meta in select(&html, "meta") {
        let element = meta.value();
        let name = element.attr("property").or_else(|| element.attr("name")).unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        let Some(value) = element.attr("content").map(tidy).filter(|value| !value.is_empty()) else { continue };
        match name.as_str() {
            "og:image" | "og:image:url" | "og:image:secure_url" => image = image.or(Some(value)),
            "twitter:image" | "twitter:image:src" => fallbacks.push(("image", value)),
            "twitter:title" => fallbacks.push(("og:title", value)),
            "twitter:description" | "description" => fallbacks.push(("og:description", value)),
            // They describe an image that is replaced by ours, or none.
            _ if name.starts_with("og:image") => {}
            _ if name.starts_with("og:") && name.len() <= NAME_BYTES_MAX => page.put(&name, value),
            _ => {}
        }
    }
    for (name, value) in fallbacks {
        match name {
            "image" => image = image.or(Some(value)),
            name => page.put(name, value),
        }
    }
    let text_of = |selector: &'static str| {
        let texts = select(&html, selector).map(|element| tidy(&element.text().collect::<String>()));
        texts.take(10).find(|text| !text.is_empty())
    };
    for (name, selectors) in [("og:title", ["title", "h1"]), ("og:description", ["main p", "p"])] {
        if !page.properties.contains_key(name)
            && let Some(text) = selectors.into_iter().find_map(text_of)
        {
            page.put(name, text);
        }
    }
    let linked = || select(&html, "link[rel=image_src]").find_map(|link| link.value().attr("href").map(str::to_owned));
    let base = select(&html, "base[href]").find_map(|base| url.join(base.value().attr("href")?).ok());
    page.image = image.or_else(linked).and_then(|image| base.as_ref().unwrap_or(url).join(image.trim()).ok());
    page
}

/// Parses the page, or as much of its beginning as may be.
fn parse(text: &str) -> Html {
    let started = Instant::now();
    let mut parser = driver::parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let (mut rest, mut tags) = (text, 0);
    while !rest.is_empty() && tags < TAGS_MAX && started.elapsed() < PARSING_MAX {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        tags += piece.bytes().filter(|byte| *byte == b'<').count();
        parser.process(StrTendril::from(piece));
        rest = behind;
    }
    parser.finish()
}

fn select<'a>(html: &'a Html, selector: &'static str) -> impl Iterator<Item = ElementRef<'a>> {
    // What does not parse would find nothing; the tests find everything.
    let selector = Selector::parse(selector).ok();
    let found: Vec<ElementRef<'a>> =
        selector.iter().flat_map(|selector| html.select(selector).take(FOUND_MAX)).collect();
    found.into_iter()
}

impl Page {
    /// The first value of a name counts.
    fn put(&mut self, name: &str, value: String) {
        if self.properties.len() < PROPERTIES_MAX && !self.properties.contains_key(name) {
            self.properties.insert(name.to_owned(), value.into());
        }
    }
}

/// One line without control characters, cut to its length.
fn tidy(text: &str) -> String {
    let mut tidy = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if chars > 0 {
            tidy.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= VALUE_CHARS_MAX {
                tidy.push('…');
                return tidy;
            }
            tidy.push(c);
            chars += 1;
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(text: &str) -> Page {
        read(text, &"https://a.example/dir/page".parse().unwrap())
    }

    fn value<'a>(page: &'a Page, name: &str) -> &'a str {
        page.properties.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    #[test]
    fn open_graph_comes_first() {
        let page = page(
            "<html><head><title>Plain</title><meta name=description content=plain>
             <meta property=\"og:title\" content=\" Ward \n round \"><meta property=og:title content=second>
             <meta property=OG:description content='&lt;b&gt;Who &amp; when'><meta property=og:image content=/i.png>
             <meta property=og:image:width content=10><meta name=twitter:title content=Tweet></head>",
        );
        assert_eq!(value(&page, "og:title"), "Ward round");
        assert_eq!(value(&page, "og:description"), "<b>Who & when");
        assert_eq!(page.image.unwrap().as_str(), "https://a.example/i.png");
        assert!(!page.properties.keys().any(|name| name.starts_with("og:image")), "{:?}", page.properties);
    }

    #[test]
    fn other_descriptions_stand_in() {
        let found = page(
            "<meta name=twitter:title content=T><meta name=description content=D><meta name=twitter:image content=x.png>",
        );
        assert_eq!((value(&found, "og:title"), value(&found, "og:description")), ("T", "D"));
        assert_eq!(found.image.unwrap().as_str(), "https://a.example/dir/x.png");
        let found =
            page("<base href=/other/><h1>H</h1><p> </p><p>First <b>words</b></p><link rel=image_src href=y.png>");
        assert_eq!((value(&found, "og:title"), value(&found, "og:description")), ("H", "First words"));
        assert_eq!(found.image.unwrap().as_str(), "https://a.example/other/y.png");
        let found = page("");
        assert!(found.properties.is_empty() && found.image.is_none());
    }

    #[test]
    fn what_is_found_is_bounded() {
        let many: String =
            (0..1_000).map(|n| format!("<meta property=og:x{n} content={}>", "y".repeat(5_000))).collect();
        let found = page(&many);
        assert_eq!(found.properties.len(), PROPERTIES_MAX);
        assert_eq!(value(&found, "og:x0").chars().count(), VALUE_CHARS_MAX + 1);
        for hostile in ["<div>", "<b>", "<a x", "<p></b>", "<table>", "<svg>", "<!--", "&amp"] {
            let found = page(&format!("<title>T</title>{}", hostile.repeat(100_000)));
            assert_eq!(value(&found, "og:title"), "T", "{hostile}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_the_page_it_does_not_panic(text in "(<(meta|title|p|base|link|/p|!--|svg|table|a)( (property|name|content|href|rel)=('og:[a-z]{0,5}'|.{0,10}))*>|.{0,20}){0,30}") {
            let found = page(&text);
            prop_assert!(found.properties.len() <= PROPERTIES_MAX);
        }
    }
}
