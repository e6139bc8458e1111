//! libFuzzer over the targets of `llm-fuzz`; the environment variable `LLM_FUZZ_TARGET` names one.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use llm_fuzz::{Fixture, Target};

static FIXTURE: OnceLock<Fixture> = OnceLock::new();

fn fixture() -> &'static Fixture {
    FIXTURE.get_or_init(|| {
        // Panics of libraries are caught and become errors; only one that gets through to the fuzzer is a finding.
        std::panic::set_hook(Box::new(|_| {}));
        let name = std::env::var("LLM_FUZZ_TARGET").unwrap_or_default();
        let target = Target::named(&name).unwrap_or_else(|| panic!("LLM_FUZZ_TARGET names no target: {name:?}"));
        Fixture::new(target).expect("the folder for temporary files can be written")
    })
}

fuzz_target!(init: { let _ = fixture(); }, |bytes: &[u8]| {
    let _ = fixture().run(bytes);
});
