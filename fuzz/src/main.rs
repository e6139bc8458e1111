//! Writes the seeds of a target into a folder, one file each: `llm-fuzz TARGET FOLDER`.

use std::path::Path;
use std::{fs, io};

use llm_fuzz::{Target, seeds};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder] = arguments.as_slice() else {
        return Err(io::Error::other("usage: llm-fuzz TARGET FOLDER"));
    };
    let target = Target::named(name)
        .ok_or_else(|| io::Error::other(format!("there is no target {name:?}")))?;
    for (index, seed) in seeds(target)?.into_iter().enumerate() {
        fs::write(Path::new(folder).join(index.to_string()), seed)?;
    }
    Ok(())
}
