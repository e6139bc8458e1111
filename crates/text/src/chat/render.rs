use std::thread;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Map;

use super::helpers::{self, Raised};
use crate::error::TextError;
use crate::guard::{catch, panic_message};

/// Checks that `source` is a valid template.
pub(crate) fn check(source: &str) -> Result<(), TextError> {
    on_own_stack(|| {
        let env = environment(&Raised::default(), None)?;
        env.template_from_str(source).map(|_| ())
    })
    .map_err(|error| TextError::template(describe(&error)))
}

/// Renders `source` with the variables of `context`.
pub(crate) fn render(
    source: &str,
    context: Map<String, serde_json::Value>,
    now: Option<SystemTime>,
) -> Result<String, TextError> {
    let raised = Raised::default();
    on_own_stack(|| {
        let env = environment(&raised, now)?;
        env.template_from_str(source)?
            .render(Value::from(Serde(&context)))
    })
    .map_err(|error| {
        let reason = raised.get().cloned();
        TextError::template(reason.unwrap_or_else(|| describe(&error)))
    })
}

fn environment(raised: &Raised, now: Option<SystemTime>) -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    env.set_fuel(Some(FUEL));
    helpers::add_to(&mut env, raised, now);
    Ok(env)
}

/// Runs `work` on a thread with a stack that suffices for the deepest template that is let through.
fn on_own_stack<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let failed = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name("chat-template".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || catch(work))
            .map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        match handle.join() {
            Ok(Ok(result)) => result,
            Ok(Err(reason)) => Err(failed(reason)),
            Err(payload) => Err(failed(panic_message(payload.as_ref()))),
        }
    })
}

fn describe(error: &Error) -> String {
    error.to_string()
}

/// Steps of a template, each also paying for 64 bytes of data.
const FUEL: u64 = 2_000_000;

const STACK_BYTES: usize = 64 << 20;
