//! Why a model could not be found.

use std::path::PathBuf;

use thiserror::Error;

/// Why a source did not lead to a model.
#[derive(Debug, Error)]
pub enum HubError {
    /// The source is empty.
    #[error("Model not found: no path or name was given")]
    EmptySource,
    /// No place has the model.
    #[error("Model not found: {name}. {}", advice(.looked_in, .present, .download.as_deref()))]
    NotFound {
        /// The source as given.
        name: String,
        /// Every place looked at, in order.
        looked_in: Vec<PathBuf>,
        /// Some of the models that are there, the most similar names first.
        present: Vec<String>,
        /// The command that brings the model, when the source looks like a Hugging Face id.
        download: Option<String>,
    },
}

/// The sentences behind "Model not found".
fn advice(looked_in: &[PathBuf], present: &[String], download: Option<&str>) -> String {
    let places: Vec<String> = looked_in
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    let places = places.join(", ");
    let present = match present {
        [] => "no models are there".to_owned(),
        names => format!("there is: {}", names.join(", ")),
    };
    let remedy = match download {
        Some(command) => format!("to fetch it: `{command}`"),
        None => "give the path of a file or folder, or a Hugging Face id".to_owned(),
    };
    format!("Looked in: {places}; {present}; {remedy}")
}
