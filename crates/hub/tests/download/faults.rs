//! Failures that pass: in the end the file is here, whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::hub::{Fault, Seen};
use super::*;

const FILE: &str = ".gguf";

/// The fault for the first `times` requests for the file.
fn first(times: usize, fault: Fault) -> impl FnMut(&Seen) -> Option<Fault> + Send {
    let mut left = times;
    move |seen| {
        if left == 0 || !seen.is_for(FILE) {
            return None;
        }
        left -= 1;
        Some(fault.clone())
    }
}

#[test]
fn passing_faults_of_a_small_and_of_a_large_file_are_survived() {
    let faults = [
        Fault::Cut(0),
        Fault::Cut(700),
        Fault::Stall(1500),
        Fault::Trickle,
        Fault::WrongLength,
        Fault::Corrupt(1000),
        Fault::Status(500, ""),
        Fault::Status(502, "Retry-After: 1\r\n"),
        Fault::Status(503, ""),
        Fault::Status(429, "Retry-After: 1\r\n"),
        Fault::Status(408, ""),
    ];
    for len in [2000, 9 << 20] {
        let content = bytes(len);
        for fault in &faults {
            // What is damaged twice is given up.
            let times = if matches!(fault, Fault::Corrupt(_)) {
                1
            } else {
                3
            };
            let hub = gguf(&content).faults(first(times, fault.clone())).start();
            let cache = Cache::new();
            let config = match fault {
                Fault::Stall(_) | Fault::Trickle => cache.impatient(&hub),
                _ => cache.config(&hub),
            };
            let downloaded = download(request(), &config, &Cancel::default(), &mut |_| {});
            let downloaded = downloaded.unwrap_or_else(|error| panic!("{len} {fault:?}: {error}"));
            assert!(
                fs::read(downloaded.path).unwrap() == content,
                "{len} {fault:?}"
            );
            assert_eq!(names(&cache.at("blobs")).len(), 1, "{len} {fault:?}");
        }
    }
}

#[test]
fn a_connection_that_is_cut_again_and_again_brings_the_file_all_the_same() {
    let content = bytes(6 << 20);
    let hub = gguf(&content)
        .faults(|seen| seen.is_for(FILE).then_some(Fault::Cut(100_000)))
        .start();
    let cache = Cache::new();
    let downloaded = cache.download(&hub).unwrap();
    assert!(fs::read(downloaded.path).unwrap() == content);
    assert!(hub.seen().len() > 60, "{}", hub.seen().len());
}

#[test]
fn a_server_without_ranges_sends_the_file_in_one_piece() {
    let content = bytes(6 << 20);
    let always = |seen: &Seen| seen.is_for(FILE).then_some(Fault::Whole);
    let hub = gguf(&content).faults(always).start();
    let cache = Cache::new();
    let downloaded = cache.download(&hub).unwrap();
    assert!(fs::read(downloaded.path).unwrap() == content);

    // What is here already is passed over.
    let cache = Cache::new();
    fs::create_dir_all(cache.at("blobs")).unwrap();
    fs::write(cache.incomplete(&content), &content[..5 << 20]).unwrap();
    let downloaded = cache.download(&hub).unwrap();
    assert!(fs::read(&downloaded.path).unwrap() == content);
    assert_eq!(downloaded.fetched, 1 << 20);
}

#[test]
fn a_link_of_the_storage_that_has_run_out_is_made_anew() {
    let content = bytes(20 << 20);
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    // Every fourth link is refused, as if its time were over.
    let faults = move |seen: &Seen| {
        if !seen.target.starts_with("/storage/") {
            return None;
        }
        (count.fetch_add(1, Ordering::Relaxed) % 4 == 3).then_some(Fault::Status(403, ""))
    };
    let hub = gguf(&content).with_storage().faults(faults).start();
    let cache = Cache::new();
    let downloaded = cache.download(&hub).unwrap();
    assert!(fs::read(downloaded.path).unwrap() == content);
    assert!(answered.load(Ordering::Relaxed) > 4);
}

#[test]
fn a_failed_download_is_gone_on_with() {
    for len in [500_000, 9 << 20] {
        let content = bytes(len);
        // From the middle on nothing works.
        let faults = move |seen: &Seen| {
            let (first, last) = seen.range.unwrap_or((0, len - 1));
            (seen.is_for(FILE) && last > len / 2)
                .then(|| Fault::Cut((len / 2).saturating_sub(first)))
        };
        let hub = gguf(&content).faults(faults).start();
        let cache = Cache::new();
        let error = cache.download(&hub).unwrap_err();
        assert!(matches!(error, HubError::Transfer { .. }), "{error}");
        assert!(error.to_string().contains("goes on from there"), "{error}");
        assert!(!cache.snapshot().exists());
        let kept = fs::metadata(cache.incomplete(&content)).unwrap().len();
        hub.heal();
        let downloaded = cache.download(&hub).unwrap();
        assert!(fs::read(&downloaded.path).unwrap() == content);
        assert!(
            kept > 0 && downloaded.fetched == len as u64 - kept,
            "{kept} {downloaded:?}"
        );
        let asked = hub
            .seen()
            .iter()
            .filter_map(|seen| seen.range)
            .map(|(first, _)| first)
            .min();
        assert_eq!(asked.unwrap() as u64, kept);
    }
}

#[test]
fn a_beginning_that_is_damaged_or_too_long_is_fetched_anew() {
    let content = bytes(5000);
    for beginning in [vec![7; 3000], vec![7; 5000], vec![7; 6000]] {
        let hub = gguf(&content).start();
        let cache = Cache::new();
        fs::create_dir_all(cache.at("blobs")).unwrap();
        fs::write(cache.incomplete(&content), &beginning).unwrap();
        let downloaded = cache.download(&hub).unwrap();
        assert!(
            fs::read(downloaded.path).unwrap() == content,
            "{}",
            beginning.len()
        );
        assert!(!cache.incomplete(&content).exists());
    }
}

#[test]
fn a_file_that_was_cut_short_in_the_cache_is_fetched_anew() {
    let hub = gguf(&bytes(5000)).start();
    let cache = Cache::new();
    let path = cache.download(&hub).unwrap().path;
    fs::write(cache.blob(&bytes(5000)), &bytes(5000)[..100]).unwrap();
    cache.download(&hub).unwrap();
    assert!(fs::read(path).unwrap() == bytes(5000));
}
