//! Limits on the values that a template makes.
//!
//! The engine's fuel pays for steps and for strings, but not for lists that share their parts or come to be only when they
//! are read: a few steps can make one that would fill any memory once it is written out, compared or copied. So every
//! value that an operator, filter, function or literal makes is measured as if it were written out ([`BOUNDED`], which
//! `rewrite` puts around each), and everything after can rely on it.

use std::time::{Duration, Instant};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

/// Function that lets a value through if it is within the limits and there is time left.
pub(crate) const BOUNDED: &str = "__bounded";

/// As [`BOUNDED`], for values that are stored in a namespace: nothing that could come to contain itself.
pub(crate) const STORABLE: &str = "__storable";

/// Rendering takes milliseconds; this is for templates that do not mean well.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Largest value, in bytes of text plus [`SLOT_BYTES`] for each entry of a list or map.
const MAX_BYTES: usize = 32 << 20;

const SLOT_BYTES: usize = 64;

/// How deep lists and maps may lie in one another.
const MAX_DEPTH: usize = 128;

/// Adds the functions to an environment; the time starts now.
pub(crate) fn add_to(env: &mut Environment<'_>) {
    let deadline = Instant::now() + TIME_LIMIT;
    let check = move |value: &Value| {
        let mut measure = Measure {
            bytes_left: MAX_BYTES,
            has_objects: false,
        };
        measure.add(value, 0)?;
        if Instant::now() > deadline {
            return Err(refused("takes too long"));
        }
        Ok(measure)
    };
    env.add_function(BOUNDED, move |value: Value| check(&value).map(|_| value));
    env.add_function(STORABLE, move |value: Value| {
        if check(&value)?.has_objects {
            return Err(refused("stores a namespace or loop in a namespace"));
        }
        Ok(value)
    });
}

struct Measure {
    bytes_left: usize,
    /// There are values that change (namespaces) or are not data (loops, macros).
    has_objects: bool,
}

impl Measure {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if let Some(text) = value.as_str() {
            return self.take(text.len());
        }
        if !matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
        ) {
            self.has_objects |= value.as_object().is_some();
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            return Err(refused("nests lists or maps too deep"));
        }
        let name = value.as_object().map_or("", |object| object.type_name());
        self.has_objects |= ["Namespace", "Loop"].iter().any(|kind| name.contains(kind));
        for item in value.try_iter()? {
            self.take(SLOT_BYTES)?;
            self.add(&item, depth + 1)?;
            if value.kind() == ValueKind::Map {
                self.add(&value.get_item(&item)?, depth + 1)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or_else(|| refused("makes a value that is too large"))?;
        Ok(())
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the template {what}"))
}
