//! A hub on this machine that can misbehave.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPO: &str = "owner/tiny";
/// Larger files are in the storage of large files: their etag is a SHA-256.
const LARGE: usize = 1000;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) authorization: Option<String>,
    /// First and last byte.
    pub(crate) range: Option<(usize, usize)>,
}

impl Seen {
    /// Whether content of the file is asked for.
    pub(crate) fn is_for(&self, file: &str) -> bool {
        self.method == "GET"
            && self
                .target
                .split('?')
                .next()
                .is_some_and(|path| path.ends_with(file))
    }
}

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with these headers.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes.
    Stall(usize),
    /// A byte now and then.
    Trickle,
    /// The byte at this place of the file is another one.
    Corrupt(usize),
    /// The file is said to be longer than it is.
    WrongLength,
    /// A range is answered with the whole file.
    Whole,
}

type Faults = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    /// The description as the API gives it; made from the files when empty.
    description: String,
    uses_storage: bool,
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Option<Faults>>,
}

pub(crate) struct FakeHub {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

/// A hub before it is started.
#[derive(Default)]
pub(crate) struct Builder(Shared);

impl Builder {
    pub(crate) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.files.insert(path.to_owned(), content.into());
        self
    }

    /// Content comes from another host.
    pub(crate) fn with_storage(mut self) -> Self {
        self.0.uses_storage = true;
        self
    }

    pub(crate) fn description(mut self, json: String) -> Self {
        self.0.description = json;
        self
    }

    pub(crate) fn faults(
        self,
        faults: impl FnMut(&Seen) -> Option<Fault> + Send + 'static,
    ) -> Self {
        *self.0.faults.lock().unwrap() = Some(Box::new(faults));
        self
    }

    pub(crate) fn start(self) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(self.0);
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream.unwrap(), port));
            }
        });
        FakeHub {
            url: format!("http://127.0.0.1:{port}"),
            shared,
        }
    }
}

impl FakeHub {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn heal(&self) {
        *self.shared.faults.lock().unwrap() = None;
        self.shared.seen.lock().unwrap().clear();
    }
}

pub(crate) fn etag(content: &[u8]) -> String {
    let hash = if content.len() > LARGE {
        digest(&SHA256, content)
    } else {
        let mut blob = format!("blob {}\0", content.len()).into_bytes();
        blob.extend_from_slice(content);
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob)
    };
    hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Shared {
    /// Answers requests until the other side is gone.
    fn serve(&self, stream: TcpStream, port: u16) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(seen) = read_request(&mut reader) {
            self.seen.lock().unwrap().push(seen.clone());
            let fault = self
                .faults
                .lock()
                .unwrap()
                .as_mut()
                .and_then(|faults| faults(&seen));
            if self.answer(&stream, &seen, fault, port).is_none() {
                return;
            }
        }
    }

    /// `None` when the connection is at its end.
    fn answer(
        &self,
        stream: &TcpStream,
        seen: &Seen,
        fault: Option<Fault>,
        port: u16,
    ) -> Option<()> {
        if let Some(Fault::Status(status, headers)) = fault {
            return send(
                stream,
                &format!("{status} Fault\r\n{headers}Content-Length: 0"),
                b"",
            );
        }
        let path = seen.target.split('?').next().unwrap();
        if path.starts_with("/api/models/") {
            let body = self.description();
            return send(
                stream,
                &format!("200 OK\r\nContent-Length: {}", body.len()),
                body.as_bytes(),
            );
        }
        let resolve = format!("/{REPO}/resolve/{COMMIT}/");
        if let Some(file) = path.strip_prefix("/storage/") {
            return send_file(stream, seen, &self.files[file], fault);
        }
        let file = path
            .strip_prefix(&resolve)
            .unwrap_or_else(|| panic!("unknown path {path}"));
        let content = &self.files[file];
        if seen.method == "HEAD" {
            let etag = etag(content);
            let head = format!(
                "200 OK\r\nETag: \"{etag}\"\r\nContent-Length: {}",
                content.len()
            );
            return send(stream, &head, b"");
        }
        if self.uses_storage {
            let to = format!("http://localhost:{port}/storage/{file}?signature=secret");
            return send(
                stream,
                &format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0"),
                b"",
            );
        }
        send_file(stream, seen, content, fault)
    }

    fn description(&self) -> String {
        if !self.description.is_empty() {
            return self.description.clone();
        }
        let siblings: Vec<String> = self
            .files
            .iter()
            .map(|(path, content)| {
                let (size, etag) = (content.len(), etag(content));
                let lfs = format!(
                    r#", "lfs": {{"sha256": "{etag}", "size": {size}, "pointerSize": 134}}"#
                );
                let lfs = if size > LARGE { lfs } else { String::new() };
                let id = if size > LARGE { "not-a-hash" } else { &etag };
                format!(r#"{{"rfilename": "{path}", "size": {size}, "blobId": "{id}"{lfs}}}"#)
            })
            .collect();
        format!(
            r#"{{"sha": "{COMMIT}", "gated": false, "siblings": [{}]}}"#,
            siblings.join(", ")
        )
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let mut seen = Seen {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        ..Seen::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Some(seen);
        };
        match name.to_ascii_lowercase().as_str() {
            "host" => seen.host = value.to_owned(),
            "authorization" => seen.authorization = Some(value.to_owned()),
            "range" => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                seen.range = Some((first.parse().ok()?, last.parse().ok()?));
            }
            _ => {}
        }
    }
}

fn send(mut stream: &TcpStream, head: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {head}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn send_file(
    mut stream: &TcpStream,
    seen: &Seen,
    content: &[u8],
    fault: Option<Fault>,
) -> Option<()> {
    let mut content = Cow::Borrowed(content);
    let size = content.len() + usize::from(matches!(fault, Some(Fault::WrongLength)));
    if let Some(Fault::Corrupt(at)) = fault {
        content.to_mut()[at] ^= 1;
    }
    let range = seen.range.filter(|_| !matches!(fault, Some(Fault::Whole)));
    let (status, part) = match range {
        Some((first, last)) => {
            let head = format!("206 Partial\r\nContent-Range: bytes {first}-{last}/{size}");
            (head, &content[first..=last])
        }
        None => ("200 OK".to_owned(), &content[..]),
    };
    let length = part.len() + size - content.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    match fault {
        Some(Fault::Cut(at)) if at < part.len() => {
            stream.write_all(&part[..at]).ok()?;
            stream.shutdown(std::net::Shutdown::Both).ok()?;
            None
        }
        Some(Fault::Stall(at)) if at < part.len() => {
            stream.write_all(&part[..at]).ok()?;
            thread::sleep(Duration::from_secs(30));
            None
        }
        Some(Fault::Trickle) => part.iter().try_for_each(|&byte| {
            thread::sleep(Duration::from_millis(20));
            stream.write_all(&[byte]).ok()
        }),
        _ => stream.write_all(part).ok(),
    }
}
