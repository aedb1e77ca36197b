//! `GET /_matrix/client/v1/media/preview_url`.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wardroom_testkit::{Actor, Config, Reply, Server, User, json, raw, v1};

use super::{download, png, size};
use crate::{server_with, ward};

/// Somebody's web server, played by the test: path to status line, headers and body.
struct Web {
    address: String,
    hits: Arc<Mutex<HashMap<String, usize>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Page = (&'static str, String, Vec<u8>);

impl Web {
    fn new(pages: impl Fn(&str) -> HashMap<&'static str, Page>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let pages = Arc::new(pages(&address));
        let (hits, stop): (Arc<Mutex<HashMap<String, usize>>>, Arc<AtomicBool>) = Default::default();
        let (counted, stopped) = (Arc::clone(&hits), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (pages, counted) = (Arc::clone(&pages), Arc::clone(&counted));
                thread::spawn(move || drop(answer(stream.unwrap(), &pages, &counted)));
            }
        });
        Self { address, hits, stop, thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn hits(&self, path: &str) -> usize {
        self.hits.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(
    mut stream: TcpStream,
    pages: &HashMap<&'static str, Page>,
    hits: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    *hits.lock().unwrap().entry(path.clone()).or_default() += 1;
    let missing = ("404 Not Found", String::new(), Vec::new());
    let (status, headers, body) = pages.get(path.as_str()).unwrap_or(&missing);
    if path == "/slow" {
        thread::sleep(Duration::from_millis(300));
    }
    write!(stream, "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}

fn page(content_type: &str, body: impl Into<Vec<u8>>) -> Page {
    ("200 OK", format!("content-type: {content_type}\r\n"), body.into())
}

fn redirect(to: &str) -> Page {
    ("302 Found", format!("location: {to}\r\n"), Vec::new())
}

fn config() -> Config {
    Config::default()
        .set("url_previews.enabled", "true")
        .set("url_previews.deny", r#"["*/secret*", "denied.example"]"#)
        .set("url_previews.allow_ip_ranges", r#"["127.0.0.1/32"]"#)
}

fn preview(user: &User, url: &str) -> Reply {
    user.get(v1(&["media", "preview_url"]).query("url", url))
}

fn world(pages: impl Fn(&str) -> HashMap<&'static str, Page>) -> (Server, User, Web) {
    let web = Web::new(pages);
    let server = server_with(config());
    let alice = server.user("alice");
    (server, alice, web)
}

#[test]
fn a_page_says_what_it_is_about() {
    let (server, alice, web) = world(|_| {
        HashMap::from([
            (
                "/article",
                page(
                    "text/html; charset=utf-8",
                    "<title>Plain</title><meta property='og:title' content='Hygiène'><meta property=og:image content=/i.png>
                     <meta property='og:description' content='Wash &amp; dry'><meta property='og:site_name' content=Site>",
                ),
            ),
            ("/i.png", page("image/png", png(40, 30))),
            ("/latin", page("text/html; charset=iso-8859-1", &b"<title>Gr\xfc\xdfe</title><p>Text</p>"[..])),
            ("/no-image", page("text/html", "<title>T</title><meta property=og:image content=/missing.png>")),
            ("/lies", page("text/html", "<title>T</title><meta property=og:image content=/lie.png>")),
            ("/lie.png", page("image/png", "<script>no image</script>")),
            ("/data", page("application/pdf", "%PDF")),
        ])
    });
    let found = preview(&alice, &web.url("/article#part")).ok();
    assert_eq!(found["og:title"], "Hygiène");
    assert_eq!(found["og:description"], "Wash & dry");
    assert_eq!(found["og:site_name"], "Site");
    assert_eq!((&found["og:image:width"], &found["og:image:height"]), (&json!(40), &json!(30)));
    assert_eq!(
        (&found["og:image:type"], &found["matrix:image:size"]),
        (&json!("image/png"), &json!(png(40, 30).len()))
    );
    let image = found["og:image"].as_str().unwrap();
    assert!(image.starts_with(&format!("mxc://{}/", server.name())), "{image}");
    assert_eq!(size(&download(&alice, image)), (40, 30));
    let latin = preview(&alice, &web.url("/latin")).ok();
    assert_eq!((&latin["og:title"], &latin["og:description"]), (&json!("Grüße"), &json!("Text")));
    for path in ["/no-image", "/lies"] {
        assert_eq!(preview(&alice, &web.url(path)).ok(), json!({ "og:title": "T" }), "{path}");
    }
    assert_eq!(preview(&alice, &web.url("/data")).ok(), json!({}));
    let direct = preview(&alice, &web.url("/i.png")).ok();
    assert_eq!((&direct["og:image:width"], &direct["og:image:type"]), (&json!(40), &json!("image/png")));
    // At the old path, and with a time.
    let old = raw("/_matrix/media/v3/preview_url").query("url", &web.url("/article")).query("ts", "1510610716656");
    assert_eq!(alice.get(old).ok()["og:title"], "Hygiène");
}

#[test]
fn a_page_is_read_once_for_all() {
    let (server, alice, web) = world(|_| {
        HashMap::from([
            ("/slow", page("text/html", "<title>Slow</title>")),
            ("/broken", ("500 Oh no", String::new(), Vec::new())),
        ])
    });
    let bob = server.user("bob");
    thread::scope(|scope| {
        for user in [&alice, &bob, &alice, &bob] {
            let url = web.url("/slow");
            scope.spawn(move || assert_eq!(preview(user, &url).ok()["og:title"], "Slow"));
        }
    });
    preview(&bob, &web.url("/slow")).ok();
    assert_eq!(web.hits("/slow"), 1);
    for _ in 0..3 {
        preview(&alice, &web.url("/broken")).refused(502, "M_UNKNOWN");
    }
    assert_eq!(web.hits("/broken"), 1, "failures are remembered for a while");
}

#[test]
fn nothing_leads_into_the_house() {
    let inside = TcpListener::bind("127.0.0.2:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let inside_url = format!("http://127.0.0.2:{}/", inside.local_addr().unwrap().port());
    let to_inside = inside_url.clone();
    let (_server, alice, web) = world(move |address| {
        let image = format!("<title>T</title><meta property=og:image content={to_inside}i.png>");
        HashMap::from([
            ("/redirect", redirect(&to_inside)),
            ("/to-denied", redirect(&format!("http://{address}/secret"))),
            ("/loop", redirect(&format!("http://{address}/loop"))),
            ("/file", redirect("file:///etc/passwd")),
            ("/image", page("text/html", image)),
            ("/secret", page("text/html", "<title>Secret</title>")),
        ])
    });
    for url in [
        inside_url.as_str(),
        "http://10.0.0.1/",
        "http://[::1]:80/",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706434/",
        "http://[::ffff:127.0.0.2]/",
        "http://denied.example/x",
        &web.url("/secret"),
        &web.url("/redirect"),
        &web.url("/to-denied"),
    ] {
        preview(&alice, url).refused(403, "M_FORBIDDEN");
    }
    preview(&alice, &web.url("/loop")).refused(502, "M_UNKNOWN");
    preview(&alice, &web.url("/file")).refused(502, "M_UNKNOWN");
    assert_eq!(preview(&alice, &web.url("/image")).ok(), json!({ "og:title": "T" }));
    assert!(web.hits("/loop") <= 10, "{}", web.hits("/loop"));
    assert!(inside.accept().is_err(), "a connection was made to where none may be made");
}

#[test]
fn what_is_no_address_is_refused() {
    let (_server, alice, web) = world(|_| HashMap::new());
    for url in ["", "no url", "/relative", "file:///etc/passwd", "javascript:alert(1)", "http://user:pass@a.example/"] {
        let error = preview(&alice, url).refused(400, "M_INVALID_PARAM");
        assert!(error["error"].as_str().unwrap().starts_with("url"), "{error}");
    }
    preview(&alice, &format!("http://a.example/{}", "x".repeat(3_000))).refused(400, "M_INVALID_PARAM");
    alice.get(v1(&["media", "preview_url"])).refused(400, "M_MISSING_PARAM");
    let at = v1(&["media", "preview_url"]).query("url", &web.url("/")).query("ts", "yesterday");
    alice.get(at).refused(400, "M_INVALID_PARAM");
    alice.anonymous().get(v1(&["media", "preview_url"]).query("url", &web.url("/"))).refused(401, "M_MISSING_TOKEN");
    preview(&alice, &web.url("/missing")).refused(502, "M_UNKNOWN");
}

#[test]
fn huge_pages_and_images_are_cut_or_left_out() {
    let (_server, alice, web) = world(|_| {
        let page_body = format!("<title>Huge</title>{}", "<p>x</p>".repeat(500_000));
        let image = "<title>T</title><meta property=og:image content=/huge.png>";
        HashMap::from([
            ("/huge", page("text/html", page_body)),
            ("/image", page("text/html", image)),
            ("/huge.png", page("image/png", vec![0; 9 << 20])),
        ])
    });
    assert_eq!(preview(&alice, &web.url("/huge")).ok()["og:title"], "Huge");
    assert_eq!(preview(&alice, &web.url("/image")).ok(), json!({ "og:title": "T" }));
}

#[test]
fn there_are_none_unless_they_are_wanted() {
    let alice = ward().user("alice");
    preview(&alice, "http://a.example/").refused(404, "M_UNRECOGNIZED");
    let unstable =
        raw("/_matrix/client/unstable/org.matrix.msc3916/media/preview_url").query("url", "http://a.example/");
    alice.get(unstable).refused(404, "M_UNRECOGNIZED");
}
