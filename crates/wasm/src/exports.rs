//! What the worker calls, and what it is told. Numbers only cross this border; bytes lie in the module's memory.

use std::cell::RefCell;

use llm_engine::LoadProgress;

use crate::{Answer, Host};

#[derive(Default)]
struct Module {
    host: Host,
    request: Vec<u8>,
    answer: Answer,
}

thread_local! {
    static MODULE: RefCell<Module> = RefCell::default();
}

#[expect(
    unsafe_code,
    reason = "the worker provides it; it takes numbers and returns nothing"
)]
#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Phase (0 to 3, in the order of `LoadPhase`), bytes done, bytes in all.
    safe fn report_progress(phase: u32, done: f64, total: f64);
}

fn report(progress: LoadProgress) {
    report_progress(
        progress.phase as u32,
        progress.done as f64,
        progress.total as f64,
    );
}

/// Room for a request of `len` bytes.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn request_buffer(len: usize) -> *mut u8 {
    MODULE.with_borrow_mut(|module| {
        module.request.clear();
        module.request.resize(len, 0);
        module.request.as_mut_ptr()
    })
}

/// Answers the request in the buffer; returns the length of the answer in bytes.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn handle() -> usize {
    MODULE.with_borrow_mut(|module| {
        module.answer = module.host.handle(&module.request, &mut report);
        module.answer.json.len()
    })
}

/// Where the last answer lies.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn answer_pointer() -> *const u8 {
    MODULE.with_borrow(|module| module.answer.json.as_ptr())
}

/// Where its `f32` numbers lie, if it has any; their count is in the answer.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn answer_floats() -> *const f32 {
    MODULE.with_borrow(|module| module.answer.floats.as_ptr())
}

/// Computes one round; 1 while there is work for another one.
#[expect(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn step() -> u32 {
    MODULE.with_borrow(|module| u32::from(module.host.step()))
}
