//! What a page says of itself: Open Graph properties, those of Twitter's cards in their place, and what HTML has.
//!
//! A page is read tag by tag, without a tree: that costs time of the order of its length, whatever is nested in what.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, CharacterTokens, EndTag, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer,
        TokenizerOpts,
        states::RawKind::{Rawtext, Rcdata, ScriptData},
    },
};
use serde_json::{Map, Value};
use url::Url;

/// Properties that are taken from a page.
const PROPERTIES_MAX: usize = 40;
/// Longest value, in characters.
const VALUE_CHARS_MAX: usize = 1_000;
/// Longest name of a property, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Text of an element that is collected, in bytes.
const TEXT_BYTES_MAX: usize = 8 * VALUE_CHARS_MAX;
/// Text that the tokenizer gets at a time, in bytes.
const PIECE_BYTES: usize = 2_048;
/// Time for reading a page. Only a tag with ten thousands of attributes takes longer.
const READING_MAX: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Open Graph properties, without those of images.
    pub(crate) properties: Map<String, Value>,
    /// The image to show.
    pub(crate) image: Option<Url>,
}

/// As [`read`]; a panic of the tokenizer is a page that says nothing.
pub(crate) fn guarded(text: &str, url: &Url) -> Page {
    catch_unwind(AssertUnwindSafe(|| read(text, url))).unwrap_or_default()
}

/// Reads a page that lies at `url`.
fn read(text: &str, url: &Url) -> Page {
    let started = Instant::now();
    let tokenizer = Tokenizer::new(Finder::default(), TokenizerOpts::default());
    let (input, mut rest) = (BufferQueue::default(), text);
    while !rest.is_empty() && started.elapsed() < READING_MAX {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        input.push_back(StrTendril::from(piece));
        // It stops where the sink asks it to, and this one never does.
        let _ = tokenizer.feed(&input);
        rest = behind;
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().into_page(url)
}

/// Reads tag by tag.
#[derive(Debug, Default)]
struct Finder(RefCell<Found>);

/// What a page says, in the order in which it is believed.
#[derive(Debug, Default)]
struct Found {
    page: Page,
    image: Option<String>,
    /// Names of properties with what stands in for them, best first.
    cards: Vec<(&'static str, String)>,
    card_image: Option<String>,
    linked_image: Option<String>,
    base: Option<String>,
    title: Option<String>,
    heading: Option<String>,
    paragraph: Option<String>,
    /// The element whose text is being collected.
    collecting: Option<(Element, String)>,
}

/// Elements whose text may stand in for a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Title,
    Heading,
    Paragraph,
}

impl TokenSink for Finder {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut found = self.0.borrow_mut();
        match token {
            TagToken(tag) if tag.kind == StartTag => {
                found.start(&tag);
                // What follows is text, whatever it looks like (HTML standard, section "Tree construction").
                match &*tag.name {
                    "title" | "textarea" => TokenSinkResult::RawData(Rcdata),
                    "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(Rawtext),
                    "script" => TokenSinkResult::RawData(ScriptData),
                    "plaintext" => TokenSinkResult::Plaintext,
                    _ => TokenSinkResult::Continue,
                }
            }
            TagToken(tag) if tag.kind == EndTag => {
                found.end(&tag.name);
                TokenSinkResult::Continue
            }
            CharacterTokens(text) => {
                found.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

/// An attribute of a tag.
fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

impl Found {
    fn start(&mut self, tag: &Tag) {
        let element = match &*tag.name {
            "meta" => return self.meta(tag),
            "base" => {
                self.base = self.base.take().or_else(|| attribute(tag, "href").map(str::to_owned));
                return;
            }
            "link" if attribute(tag, "rel").is_some_and(|rel| rel.eq_ignore_ascii_case("image_src")) => {
                self.linked_image = self.linked_image.take().or_else(|| attribute(tag, "href").map(str::to_owned));
                return;
            }
            "title" => Element::Title,
            "h1" => Element::Heading,
            "p" => Element::Paragraph,
            // Their text is nobody's; other elements are parts of the one around them.
            "script" | "style" | "textarea" | "xmp" | "iframe" | "noembed" | "noframes" => return self.collected(),
            _ => return,
        };
        self.collected();
        self.collecting = Some((element, String::new()));
    }

    fn end(&mut self, name: &str) {
        if matches!(name, "title" | "h1" | "p" | "div" | "section" | "article" | "main" | "body") {
            self.collected();
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, collected)) = &mut self.collecting {
            let room = TEXT_BYTES_MAX.saturating_sub(collected.len());
            collected.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    /// The element has ended: the first of its kind that says something counts.
    fn collected(&mut self) {
        let Some((element, text)) = self.collecting.take() else { return };
        let place = match element {
            Element::Title => &mut self.title,
            Element::Heading => &mut self.heading,
            Element::Paragraph => &mut self.paragraph,
        };
        if place.is_none() {
            *place = Some(tidy(&text)).filter(|text| !text.is_empty());
        }
    }

    fn meta(&mut self, tag: &Tag) {
        let name = attribute(tag, "property").or_else(|| attribute(tag, "name")).unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        let Some(value) = attribute(tag, "content").map(tidy).filter(|value| !value.is_empty()) else { return };
        match name.as_str() {
            "og:image" | "og:image:url" | "og:image:secure_url" => self.image = self.image.take().or(Some(value)),
            "twitter:image" | "twitter:image:src" => self.card_image = self.card_image.take().or(Some(value)),
            "twitter:title" => self.card("og:title", value),
            "twitter:description" | "description" => self.card("og:description", value),
            // They describe an image that is replaced by ours, or none.
            _ if name.starts_with("og:image") => {}
            _ if name.starts_with("og:") && name.len() <= NAME_BYTES_MAX => self.page.put(&name, value),
            _ => {}
        }
    }

    fn card(&mut self, name: &'static str, value: String) {
        if !self.cards.iter().any(|(known, _)| *known == name) {
            self.cards.push((name, value));
        }
    }

    fn into_page(mut self, url: &Url) -> Page {
        self.collected();
        let mut page = self.page;
        let texts = [("og:title", self.title.or(self.heading)), ("og:description", self.paragraph)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
        for (name, value) in self.cards.into_iter().chain(texts) {
            page.put(name, value);
        }
        let base = self.base.and_then(|base| url.join(&base).ok());
        let image = self.image.or(self.card_image).or(self.linked_image);
        page.image = image.and_then(|image| base.as_ref().unwrap_or(url).join(image.trim()).ok());
        page
    }
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
