//! `shoal pipeline plan`: what a pipeline would run, without running it.

use spec::plan::reference_json;

use super::Context;
use crate::args::ConfigFile;
use crate::commands::config;
use crate::commands::run::pick;
use crate::print::table;
use crate::{Exit, Failure};

pub(super) fn plan(context: &Context, name: &str, file: &ConfigFile) -> Result<Exit, Failure> {
    let loaded = config::load(context, file)?;
    let names: Vec<&str> = loaded.config.pipelines.iter().map(|pipeline| pipeline.name.value.as_str()).collect();
    let name = pick("pipeline", name, &names)?;
    let pipeline = loaded.config.pipelines.iter().rev().find(|pipeline| pipeline.name.value == name);
    let pipeline = pipeline.ok_or_else(|| Failure::new(format!("there is no pipeline {name}")))?;
    let value = reference_json(&loaded.config, pipeline).map_err(|error| Failure::new(error.to_string()))?;
    context.print(
        || value.clone(),
        || {
            let nodes: Vec<Vec<String>> = pipeline
                .nodes
                .iter()
                .map(|node| {
                    vec![node.name.value.clone(), node.kind_word().to_owned(), node.target_name().unwrap_or("-").to_owned()]
                })
                .collect();
            let edges: Vec<Vec<String>> = pipeline
                .edges
                .iter()
                .map(|edge| vec![edge.source.to_string(), edge.target.to_string()])
                .collect();
            let mut text = table::render(&["NODE", "TYPE", "RUNS"], &nodes);
            if !edges.is_empty() {
                text.push_str(&format!("\n{}", table::render(&["FROM", "TO"], &edges)));
            }
            text
        },
    )?;
    Ok(Exit::Done)
}
