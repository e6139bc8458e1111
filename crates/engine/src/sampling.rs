//! How tokens are chosen: options, ranges and defaults.

use llm_format::Metadata;
use serde_json::Value;

use crate::error::EngineError;
use crate::rng::random_seed;

const DEFAULT_TEMPERATURE: f64 = 0.8;
const DEFAULT_TOP_K: usize = 40;
const DEFAULT_TOP_P: f64 = 0.95;

/// Temperatures below this are 0: the best token by far takes all the probability, and quotients could overflow.
const LOWEST_TEMPERATURE: f64 = 1e-6;

/// How tokens are chosen; `None` leaves it to the next in line: the request, the load options, the model's
/// generation_config.json, the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingOptions {
    /// 0 (greedy: always the most probable token) to 100. Default 0.8.
    pub temperature: Option<f64>,
    /// Choose among the k most probable tokens; 0 = among all. Default 40.
    pub top_k: Option<usize>,
    /// Choose among the most probable tokens that together reach this probability, above 0 up to 1 (= all). Default 0.95.
    pub top_p: Option<f64>,
    /// Leave out tokens less than this share as probable as the most probable one, 0 (= none) to 1. Default 0.
    pub min_p: Option<f64>,
    /// Divides positive logits of tokens in prompt and answer and multiplies negative ones, 0.01 to 10. Default 1 (= off).
    pub repetition_penalty: Option<f64>,
    /// Taken from a token's logit for each time that it is in the answer, -2 to 2. Default 0.
    pub frequency_penalty: Option<f64>,
    /// Taken from a token's logit when it is in the answer, -2 to 2. Default 0.
    pub presence_penalty: Option<f64>,
    /// Start of the random numbers. Default: drawn, and named in the result.
    pub seed: Option<u64>,
}

impl SamplingOptions {
    /// What generation_config.json recommends: `temperature`, `top_k` and `top_p`, and greedy for `do_sample: false`. Its
    /// penalties are left alone, and so are values outside their ranges.
    pub(crate) fn from_generation_config(config: &Value) -> Self {
        let number = |key: &str| config.get(key).and_then(Value::as_f64);
        let greedy = config.get("do_sample") == Some(&Value::Bool(false));
        let temperature = if greedy {
            Some(0.0)
        } else {
            number("temperature")
        };
        let top_k = config
            .get("top_k")
            .and_then(Value::as_u64)
            .and_then(|k| usize::try_from(k).ok());
        Self::recommended(temperature, top_k, number("top_p"))
    }

    /// What the keys `general.sampling.temp`, `top_k` and `top_p` of a GGUF file recommend, as above.
    pub(crate) fn from_metadata(metadata: &Metadata) -> Self {
        let get = |key: &str| metadata.get(&format!("general.sampling.{key}"));
        let number = |key: &str| match get(key)? {
            // What was 0.9 in a configuration is 0.9 again.
            llm_format::Value::F32(n) => n.to_string().parse().ok(),
            other => other.as_f64(),
        };
        let top_k = get("top_k").and_then(|k| usize::try_from(k.as_u64()?).ok());
        Self::recommended(number("temp"), top_k, number("top_p"))
    }

    fn recommended(temperature: Option<f64>, top_k: Option<usize>, top_p: Option<f64>) -> Self {
        let in_range = |options: Self| {
            if options.validate().is_ok() {
                options
            } else {
                Self::default()
            }
        };
        in_range(Self {
            temperature,
            ..Self::default()
        })
        .or(in_range(Self {
            top_p,
            ..Self::default()
        }))
        .or(Self {
            top_k,
            ..Self::default()
        })
    }

    /// `self`, with what it leaves open taken from `other`.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            temperature: self.temperature.or(other.temperature),
            top_k: self.top_k.or(other.top_k),
            top_p: self.top_p.or(other.top_p),
            min_p: self.min_p.or(other.min_p),
            repetition_penalty: self.repetition_penalty.or(other.repetition_penalty),
            frequency_penalty: self.frequency_penalty.or(other.frequency_penalty),
            presence_penalty: self.presence_penalty.or(other.presence_penalty),
            seed: self.seed.or(other.seed),
        }
    }

    /// # Errors
    /// [`EngineError::InvalidOption`] for the first value outside its range.
    pub(crate) fn validate(&self) -> Result<(), EngineError> {
        let check = |name, value: Option<f64>, ok: &dyn Fn(f64) -> bool, allowed: &str| match value
        {
            Some(value) if !ok(value) => Err(EngineError::invalid_option(name, value, allowed)),
            _ => Ok(()),
        };
        let penalty = |v: f64| (-2.0..=2.0).contains(&v);
        check(
            "temperature",
            self.temperature,
            &|v| (0.0..=100.0).contains(&v),
            "from 0 to 100",
        )?;
        check(
            "topP",
            self.top_p,
            &|v| v > 0.0 && v <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "minP",
            self.min_p,
            &|v| (0.0..=1.0).contains(&v),
            "from 0 to 1",
        )?;
        let repetition = |v: f64| (0.01..=10.0).contains(&v);
        check(
            "repetitionPenalty",
            self.repetition_penalty,
            &repetition,
            "from 0.01 to 10",
        )?;
        check(
            "frequencyPenalty",
            self.frequency_penalty,
            &penalty,
            "from -2 to 2",
        )?;
        check(
            "presencePenalty",
            self.presence_penalty,
            &penalty,
            "from -2 to 2",
        )
    }

    /// Fills what is still open with the defaults; a seed is drawn.
    pub(crate) fn resolve(self) -> Sampling {
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        Sampling {
            temperature: if temperature < LOWEST_TEMPERATURE {
                0.0
            } else {
                temperature
            },
            top_k: self.top_k.unwrap_or(DEFAULT_TOP_K),
            top_p: self.top_p.unwrap_or(DEFAULT_TOP_P),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            seed: self.seed.unwrap_or_else(random_seed),
        }
    }
}

/// Sampling with every value decided; the meaning is that of [`SamplingOptions`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling {
    pub(crate) temperature: f64,
    pub(crate) top_k: usize,
    pub(crate) top_p: f64,
    pub(crate) min_p: f64,
    pub(crate) repetition_penalty: f64,
    pub(crate) frequency_penalty: f64,
    pub(crate) presence_penalty: f64,
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_request_wins_over_the_load_options_over_the_model_over_the_defaults() {
        let request = SamplingOptions {
            temperature: Some(0.1),
            ..SamplingOptions::default()
        };
        let load = SamplingOptions {
            temperature: Some(0.2),
            top_k: Some(2),
            ..SamplingOptions::default()
        };
        let model = SamplingOptions::from_generation_config(
            &json!({"do_sample": true, "temperature": 0.3, "top_k": 3, "top_p": 0.3, "repetition_penalty": 1.1}),
        );
        let resolved = request.or(load).or(model).resolve();
        assert_eq!(
            (resolved.temperature, resolved.top_k, resolved.top_p),
            (0.1, 2, 0.3)
        );
        assert_eq!(
            resolved.repetition_penalty, 1.0,
            "the model's penalties are never taken over"
        );
        let default = SamplingOptions::default().resolve();
        assert_eq!(
            (default.temperature, default.top_k, default.top_p),
            (0.8, 40, 0.95)
        );
    }

    #[test]
    fn do_sample_false_means_greedy_and_absurd_recommendations_are_ignored() {
        let greedy = SamplingOptions::from_generation_config(
            &json!({"do_sample": false, "temperature": 0.7}),
        );
        assert_eq!(greedy.temperature, Some(0.0));
        let absurd = json!({"temperature": -1.0, "top_p": 7, "top_k": -3});
        assert_eq!(
            SamplingOptions::from_generation_config(&absurd),
            SamplingOptions::default()
        );
        assert_eq!(
            SamplingOptions::from_generation_config(&json!("text")),
            SamplingOptions::default()
        );
    }

    #[test]
    fn every_value_outside_its_range_is_refused_by_its_javascript_name() {
        let none = SamplingOptions::default();
        let cases = [
            (
                "temperature",
                SamplingOptions {
                    temperature: Some(-0.1),
                    ..none
                },
            ),
            (
                "temperature",
                SamplingOptions {
                    temperature: Some(f64::NAN),
                    ..none
                },
            ),
            (
                "temperature",
                SamplingOptions {
                    temperature: Some(100.5),
                    ..none
                },
            ),
            (
                "topP",
                SamplingOptions {
                    top_p: Some(0.0),
                    ..none
                },
            ),
            (
                "topP",
                SamplingOptions {
                    top_p: Some(1.01),
                    ..none
                },
            ),
            (
                "minP",
                SamplingOptions {
                    min_p: Some(-0.01),
                    ..none
                },
            ),
            (
                "minP",
                SamplingOptions {
                    min_p: Some(1.5),
                    ..none
                },
            ),
            (
                "repetitionPenalty",
                SamplingOptions {
                    repetition_penalty: Some(0.0),
                    ..none
                },
            ),
            (
                "repetitionPenalty",
                SamplingOptions {
                    repetition_penalty: Some(f64::INFINITY),
                    ..none
                },
            ),
            (
                "frequencyPenalty",
                SamplingOptions {
                    frequency_penalty: Some(2.5),
                    ..none
                },
            ),
            (
                "presencePenalty",
                SamplingOptions {
                    presence_penalty: Some(-3.0),
                    ..none
                },
            ),
        ];
        for (expected, options) in cases {
            match options.validate() {
                Err(EngineError::InvalidOption { name, .. }) => {
                    assert_eq!(name, expected, "{options:?}")
                }
                other => panic!("{options:?}: {other:?}"),
            }
        }
    }
}
