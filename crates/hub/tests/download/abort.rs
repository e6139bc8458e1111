//! Stopping, and proxies.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::hub::{Fault, Seen};
use super::*;

#[test]
fn cancelling_ends_a_download_at_once_and_keeps_what_is_here() {
    for len in [500_000, 9 << 20] {
        let content = bytes(len);
        let hub = gguf(&content)
            .faults(|seen: &Seen| seen.is_for(".gguf").then_some(Fault::Stall(100_000)))
            .start();
        let cache = Cache::new();
        let config = HubConfig {
            stall_timeout: Duration::from_secs(20),
            ..cache.config(&hub)
        };
        let cancel = Cancel::default();
        let stopper = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            stopper.cancel();
        });
        let started = Instant::now();
        let error = download(request(), &config, &cancel, &mut |_| {}).unwrap_err();
        assert!(matches!(error, HubError::Cancelled), "{error}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
        hub.heal();
        let downloaded = cache.download(&hub).unwrap();
        assert!(fs::read(downloaded.path).unwrap() == content);
    }
}

#[test]
fn a_download_that_is_cancelled_before_does_not_begin() {
    let hub = gguf(&bytes(10)).start();
    let cancel = Cancel::default();
    cancel.cancel();
    let cache = Cache::new();
    let error = download(request(), &cache.config(&hub), &cancel, &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Cancelled), "{error}");
    assert!(hub.seen().is_empty());
}

/// A proxy that knows CONNECT and tells what it was asked for.
fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || tunnel(stream.unwrap(), &sender));
        }
    });
    (format!("http://user:pass@{address}"), asked)
}

fn tunnel(client: TcpStream, asked: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let target = head.split_whitespace().nth(1).unwrap().to_owned();
    let server = TcpStream::connect(&target).unwrap();
    asked.send(head).unwrap();
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from_server, mut to_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let _ = std::io::copy(&mut reader, &mut &server);
}

#[test]
fn a_proxy_is_used_except_for_the_hosts_that_are_excepted() {
    let content = bytes(2000);
    let hub = gguf(&content).start();
    let (proxy, asked) = proxy();
    let fetch = |no_proxy: Option<&str>| {
        let cache = Cache::new();
        let config = HubConfig {
            proxy: Some(proxy.clone()),
            no_proxy: no_proxy.map(str::to_owned),
            ..cache.config(&hub)
        };
        let downloaded = download(request(), &config, &Cancel::default(), &mut |_| {}).unwrap();
        assert_eq!(fs::read(downloaded.path).unwrap(), content);
    };
    fetch(Some("localhost,127.0.0.1"));
    assert!(asked.try_recv().is_err());
    fetch(Some("localhost"));
    let head = asked.try_recv().unwrap().to_lowercase();
    assert!(head.starts_with("connect 127.0.0.1:"), "{head}");
    assert!(head.contains("proxy-authorization: basic"), "{head}");
}
