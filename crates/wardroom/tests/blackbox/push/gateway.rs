//! A push gateway on loopback.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Value, json, serde_json};

use crate::SOON;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether something was heard.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the gateway answers: a status and a body for a push key.
type Answers = Arc<Mutex<Box<dyn FnMut(&str) -> (u16, Value) + Send>>>;

/// Hears notifications and answers them as it is told to.
pub(super) struct Gateway {
    url: String,
    heard: Arc<Mutex<Vec<Value>>>,
    answers: Answers,
}

impl Gateway {
    /// A gateway that takes everything.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/_matrix/push/v1/notify", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_| (200, json!({ "rejected": [] })))));
        let (record, reply) = (Arc::clone(&heard), Arc::clone(&answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, reply) = (Arc::clone(&record), Arc::clone(&reply));
                thread::spawn(move || serve(&stream, &record, &reply));
            }
        });
        Self { url, heard, answers }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Answers from now on as `answer` says, by push key.
    pub(super) fn answer(&self, answer: impl FnMut(&str) -> (u16, Value) + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }

    /// Every notification so far, also those that were not taken.
    pub(super) fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    /// The first notification that meets a condition, once there is one.
    #[track_caller]
    pub(super) fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let heard = self.heard();
            if let Some(told) = heard.iter().find(|told| condition(told)) {
                return told.clone();
            }
            assert!(Instant::now() < deadline, "{what}: not within {SOON:?}; heard {heard:#?}");
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// The notification of an event, once it came.
    #[track_caller]
    pub(super) fn of_event(&self, event: &str) -> Value {
        self.until("the notification of the event", |told| told["event_id"] == event)
    }

    /// Ids of the events that a push key was notified of, in order.
    pub(super) fn events_for(&self, key: &str) -> Vec<String> {
        let heard = self.heard();
        let own = heard.iter().filter(|told| told["devices"][0]["pushkey"] == key);
        own.filter_map(|told| told["event_id"].as_str()).map(str::to_owned).collect()
    }
}

/// Hears one request and answers it.
fn serve(stream: &TcpStream, heard: &Mutex<Vec<Value>>, answers: &Answers) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut first) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if first.is_empty() {
            first = line.trim().to_owned();
        }
        let header = line.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    assert_eq!(first, "POST /_matrix/push/v1/notify HTTP/1.1");
    let mut told: Value = serde_json::from_slice(&body).expect("a gateway hears JSON");
    let told = told["notification"].take();
    let key = told["devices"][0]["pushkey"].as_str().unwrap_or_default().to_owned();
    let (status, answer) = (answers.lock().unwrap())(&key);
    heard.lock().unwrap().push(told);
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    drop((&*stream).write_all(format!("{head}{answer}").as_bytes()));
}
