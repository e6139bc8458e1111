//! The kept corpus, replayed, and each of its files damaged for a short while.

use std::time::{Duration, Instant};

use llm_fuzz::{Damage, Fixture, Target, seeds};

/// For each target.
const DAMAGE_FOR: Duration = Duration::from_secs(4);

/// No input may take longer: reading a small file must not hang.
const LONGEST: Duration = Duration::from_secs(20);

fn run(fixture: &Fixture, target: Target, bytes: &[u8]) -> bool {
    let start = Instant::now();
    let opened = fixture.run(bytes).is_ok();
    let took = start.elapsed();
    assert!(took < LONGEST, "{}: {took:?} for {bytes:?}", target.name());
    opened
}

/// Replays the seeds, at least one of which must be good, or the fixture tests nothing; then damages them.
fn target_survives(target: Target) {
    let fixture = Fixture::new(target).unwrap();
    let seeds = seeds(target).unwrap();
    let good = seeds
        .iter()
        .filter(|bytes| run(&fixture, target, bytes))
        .count();
    assert!(good > 0, "{}: no seed opens", target.name());
    let mut damage = Damage::new(1);
    let start = Instant::now();
    while start.elapsed() < DAMAGE_FOR {
        let mut bytes = seeds[damage.below(seeds.len())].clone();
        damage.apply(&mut bytes);
        run(&fixture, target, &bytes);
    }
}

#[test]
fn damaged_gguf_files_are_read_or_refused() {
    target_survives(Target::Gguf);
}

#[test]
fn damaged_tiles_are_read_or_refused() {
    target_survives(Target::Tiles);
}

#[test]
fn damaged_safetensors_files_are_read_or_refused() {
    target_survives(Target::Safetensors);
}

#[test]
fn damaged_indexes_are_read_or_refused() {
    target_survives(Target::Index);
}

#[test]
fn damaged_configs_are_read_or_refused() {
    target_survives(Target::Config);
    target_survives(Target::GenerationConfig);
}

#[test]
fn damaged_tokenizers_are_read_or_refused() {
    target_survives(Target::Tokenizer);
    target_survives(Target::TokenizerConfig);
}

#[test]
fn damaged_kernel_configurations_are_read_or_refused() {
    target_survives(Target::KernelConfig);
}

#[test]
fn damaged_templates_are_read_or_refused() {
    target_survives(Target::Template);
}
