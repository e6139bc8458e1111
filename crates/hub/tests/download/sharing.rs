//! Several downloads of one model at a time.

use std::fs::File;
use std::sync::Arc;
use std::thread;

use super::*;

#[test]
fn two_at_once_fetch_each_file_once() {
    let content = bytes(9 << 20);
    let hub = Arc::new(gguf(&content).start());
    let cache = Arc::new(Cache::new());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (hub, cache) = (Arc::clone(&hub), Arc::clone(&cache));
            thread::spawn(move || cache.download(&hub).unwrap())
        })
        .collect();
    let downloaded: Vec<Downloaded> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let fetched: u64 = downloaded.iter().map(|downloaded| downloaded.fetched).sum();
    assert_eq!(fetched, 9 << 20);
    for downloaded in downloaded {
        assert!(fs::read(downloaded.path).unwrap() == content);
    }
}

#[test]
fn who_waits_for_another_process_tells_how_far_that_one_is_and_takes_its_file() {
    let content = bytes(50_000);
    let hub = gguf(&content).start();
    let cache = Cache::new();
    let place = cache.folder.path().join(".locks/models--owner--tiny");
    fs::create_dir_all(&place).unwrap();
    let lock = File::create(place.join(format!("{}.lock", hub::etag(&content)))).unwrap();
    lock.lock().unwrap();
    fs::create_dir_all(cache.at("blobs")).unwrap();
    fs::write(cache.incomplete(&content), &content[..20_000]).unwrap();
    let mut reports = Vec::new();
    let mut lock = Some(lock);
    let downloaded = download(
        request(),
        &cache.config(&hub),
        &Cancel::default(),
        &mut |report| {
            if report.is_waiting && lock.is_some() {
                fs::write(cache.incomplete(&content), &content).unwrap();
                fs::rename(cache.incomplete(&content), cache.blob(&content)).unwrap();
                lock = None;
            }
            reports.push(report);
        },
    );
    assert_eq!(downloaded.unwrap().fetched, 0);
    assert!(
        reports[0].is_waiting && reports[0].file_done == 20_000,
        "{reports:?}"
    );
    assert!(!last(&reports).is_waiting && last(&reports).file_done == 50_000);
}
