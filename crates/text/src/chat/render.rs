use std::collections::BTreeMap;
use std::thread;
use std::time::SystemTime;

use minijinja::machinery::{
    CodeGenerator, Instructions, Token, eval, make_string_output, parse, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde_json::Map;

use super::helpers::{self, Raised};
use super::{bounds, rewrite};
use crate::error::TextError;
use crate::guard::{catch, panic_message};

/// The name by which errors call the template.
const NAME: &str = "chat_template";

/// Longest template source in bytes; those of published models take up to some 20 kB.
const MAX_SOURCE_BYTES: usize = 1 << 20;

/// Most tokens in one `{{ }}` or `{% %}`. Chains of operators nest in the syntax tree as deep as they are long.
const MAX_TAG_TOKENS: usize = 4_096;

/// Most `elif` in a template: each nests in the one before.
const MAX_ELIF: usize = 1_000;

/// Steps of a template, each also paying for 64 bytes of text.
const FUEL: u64 = 2_000_000;

/// Enough for the deepest syntax tree and the deepest recursion of macros within the limits above, in debug builds too.
const STACK_BYTES: usize = 64 << 20;

/// Checks that `source` is a valid template.
pub(crate) fn check(source: &str) -> Result<(), TextError> {
    on_own_stack(|| compile(source).map(|_| ()))
        .map_err(|error| TextError::template(error.to_string()))
}

/// Renders `source` with the variables of `context`.
pub(crate) fn render(
    source: &str,
    context: Map<String, serde_json::Value>,
    now: Option<SystemTime>,
) -> Result<String, TextError> {
    let raised = Raised::default();
    on_own_stack(|| run(source, &context, &raised, now)).map_err(|error| {
        let said = raised.get().cloned();
        TextError::template(said.unwrap_or_else(|| error.to_string()))
    })
}

fn run(
    source: &str,
    context: &Map<String, serde_json::Value>,
    raised: &Raised,
    now: Option<SystemTime>,
) -> Result<String, Error> {
    let (instructions, blocks) = compile(source)?;
    let mut env = Environment::new();
    env.set_debug(false);
    env.set_fuel(Some(FUEL));
    helpers::add_to(&mut env, raised, now);
    bounds::add_to(&mut env);
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    let root = Value::from(Serde(context));
    eval(
        &env,
        &instructions,
        root,
        &blocks,
        &mut output,
        AutoEscape::None,
    )?;
    drop(output);
    Ok(text)
}

/// Compiles `source` with Jinja's settings of transformers and with bounds on what it computes.
fn compile(source: &str) -> Result<(Instructions<'_>, BTreeMap<&str, Instructions<'_>>), Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    check_size(source, &syntax)?;
    let statement = rewrite::with_bounds(&parse(source, NAME, syntax)?)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&statement);
    Ok(generator.finish())
}

/// Refuses templates whose syntax tree would be too deep for the stack.
fn check_size(source: &str, syntax: &SyntaxConfig) -> Result<(), Error> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(too_complex("is too long"));
    }
    let (mut in_tag, mut elifs) = (0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        match token?.0 {
            Token::VariableStart | Token::BlockStart => in_tag = 0,
            Token::Ident("elif") => elifs += 1,
            _ => in_tag += 1,
        }
        if in_tag > MAX_TAG_TOKENS || elifs > MAX_ELIF {
            return Err(too_complex("nests too deep"));
        }
    }
    Ok(())
}

fn too_complex(what: &str) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("the template {what}"))
}

/// Runs `work` on a thread of its own, with a stack of [`STACK_BYTES`]; in WebAssembly, which has none, where it is called.
fn on_own_stack<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    if cfg!(target_family = "wasm") {
        return work();
    }
    let failed = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name(NAME.to_owned())
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
