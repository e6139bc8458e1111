/// Finds stop strings in text that arrives in pieces.
///
/// The stop string whose last character arrives first wins (of two that end together, the longer), so the result does
/// not depend on how the text is cut into pieces. Text that may still become part of a stop string is withheld.
///
/// ```
/// use llm_text::StopMatcher;
/// let mut matcher = StopMatcher::new(vec!["\nUser:".into()]);
/// assert_eq!(matcher.push("Hi\nUs").emit, "Hi");
/// let step = matcher.push("er: more");
/// assert!(step.stopped && step.emit.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    withheld: String,
    stopped: bool,
}

/// What [`StopMatcher::push`] lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// Text that can no longer be part of a stop string.
    pub emit: String,
    /// A stop string was found: it and everything after it is dropped.
    pub stopped: bool,
}

impl StopMatcher {
    /// A matcher for `stops`; empty strings among them are ignored.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            withheld: String::new(),
            stopped: false,
        }
    }

    /// Takes the next piece of text. After a stop, nothing is emitted any more.
    pub fn push(&mut self, text: &str) -> StopStep {
        if self.stopped {
            return StopStep {
                emit: String::new(),
                stopped: true,
            };
        }
        self.withheld.push_str(text);
        if let Some(start) = self.first_match() {
            self.stopped = true;
            let mut emit = std::mem::take(&mut self.withheld);
            emit.truncate(start);
            return StopStep {
                emit,
                stopped: true,
            };
        }
        let rest = self.withheld.split_off(self.safe_length());
        StopStep {
            emit: std::mem::replace(&mut self.withheld, rest),
            stopped: false,
        }
    }

    /// The end of the text: what was withheld is no stop string after all.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.withheld)
    }

    /// Where the stop string that ends first begins.
    fn first_match(&self) -> Option<usize> {
        self.stops
            .iter()
            .filter_map(|stop| {
                self.withheld
                    .find(stop.as_str())
                    .map(|at| (at + stop.len(), at))
            })
            .min()
            .map(|(_, start)| start)
    }

    /// Length of the text before the longest tail that begins a stop string.
    fn safe_length(&self) -> usize {
        let text = &self.withheld;
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = text.len().saturating_sub(longest);
        text.char_indices()
            .map(|(at, _)| at)
            .skip_while(|&at| at < from)
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&text[at..])))
            .unwrap_or(text.len())
    }
}
