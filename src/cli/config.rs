//! `projectord config`

use serde_json::Value;

use super::exit::{Code, Failed};
use super::print::{self, Colour};
use crate::config::Loaded;

pub(super) fn run(loaded: &Loaded) -> Result<Code, Failed> {
    let config = serde_json::to_value(&loaded.config).map_err(|error| Failed::new(Code::Failed, error))?;
    let sections = config.as_object().into_iter().flatten();
    for (section, keys) in sections {
        print::line(paint_section(section));
        for (key, value) in keys.as_object().into_iter().flatten() {
            let source = loaded.source(&format!("{section}.{key}"));
            let value = match value {
                Value::Null => "# not set".into(),
                value => value.to_string(),
            };
            let setting = format!("{key} = {value}");
            print::line(format!("{setting:<48} {}", print::paint(Colour::Dim, format!("# {source}"))));
        }
        print::line("");
    }
    Ok(Code::Done)
}

fn paint_section(section: &str) -> String {
    print::paint(Colour::Bold, format!("[{section}]"))
}
