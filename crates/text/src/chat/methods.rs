use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// Python's methods on strings, lists and maps, with payment in advance where the result can be much larger than what
/// goes in and the library does not ask for any.
pub(crate) fn call_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match method {
            "format" => pay_for_format(state, text, arguments)?,
            "split" => {
                let separator = arguments.first().and_then(Value::as_str);
                let parts = match separator {
                    Some(separator) if !separator.is_empty() => text.matches(separator).count(),
                    _ => text.split_whitespace().count(),
                };
                pay_for_items(state, parts)?;
            }
            "splitlines" => pay_for_items(state, text.matches('\n').count())?,
            _ => {}
        }
    }
    pycompat::unknown_method_callback(state, value, method, arguments)
}

/// A field of `str.format` shows one argument, at the width or precision it asks for.
fn pay_for_format(state: &State<'_, '_>, format: &str, arguments: &[Value]) -> Result<(), Error> {
    let fields = format.matches('{').count();
    let number = longest_number(format)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "format: a width is too large"))?;
    let argument = arguments
        .iter()
        .map(|argument| match argument.as_str() {
            // Escapes of `!r` take up to ten bytes.
            Some(text) => text.len().saturating_mul(10),
            None => argument.to_string().len(),
        })
        .max()
        .unwrap_or(0);
    let bytes = fields.saturating_mul(argument.saturating_add(number));
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)
}

/// The largest decimal number in `text`; `None` if it is beyond any sensible width.
fn longest_number(text: &str) -> Option<usize> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().ok().filter(|&number| number <= MAX_WIDTH))
        .try_fold(0, |largest, number| Some(largest.max(number?)))
}

fn pay_for_items(state: &State<'_, '_>, items: usize) -> Result<(), Error> {
    state.consume_fuel(items as u64)
}

/// What minijinja asks for data.
const BYTES_PER_FUEL: usize = 64;

const MAX_WIDTH: usize = 10_000;
