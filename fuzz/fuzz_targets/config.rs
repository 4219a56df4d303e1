//! Any bytes as a `valohai.yaml`: there is an answer, its places are in the file, and what is valid can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::plan::{Launch, expand, reference_json, template};
use spec::{Diagnostic, Severity, parse, render};

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    assert_eq!(parsed.is_valid(), parsed.errors().next().is_none());
    assert_eq!(parsed, parse(bytes), "the same bytes, the same answer");
    for diagnostic in &parsed.diagnostics {
        in_the_file(diagnostic, bytes);
    }
    let Some(config) = &parsed.config else { return };
    let launch = Launch::default();
    for step in &config.steps {
        match template(step, &launch) {
            // Values that cannot be passed are an answer, too.
            Ok(expanded) => drop(expanded.made.build_commands()),
            Err(errors) => all_errors(&errors),
        }
    }
    for pipeline in &config.pipelines {
        drop(reference_json(config, pipeline, "commit"));
        match expand(config, pipeline, &launch) {
            Ok(expanded) => {
                for edge in &expanded.made.edges {
                    let ends = [&edge.source_node, &edge.target_node];
                    assert!(
                        ends.iter().all(|name| expanded.made.node(name).is_some()),
                        "{edge:?}"
                    );
                }
                expanded
                    .made
                    .nodes
                    .iter()
                    .for_each(|node| drop(node.template.build_commands()));
            }
            Err(errors) => all_errors(&errors),
        }
    }
});

/// The place of a diagnostic can be shown.
fn in_the_file(diagnostic: &Diagnostic, bytes: &[u8]) {
    let span = diagnostic.span;
    assert!(
        span.line >= 1 && span.column >= 1 && span.start <= span.end,
        "{diagnostic:?}"
    );
    assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
    let source = String::from_utf8_lossy(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(
            text.is_char_boundary(span.start) && span.end <= text.len(),
            "{diagnostic:?}"
        );
    }
    let drawing = render(diagnostic, "valohai.yaml", &source);
    assert!(
        drawing.contains(&format!("valohai.yaml:{}:{}", span.line, span.column)),
        "{drawing}"
    );
}

/// What refuses says why.
fn all_errors(diagnostics: &[Diagnostic]) {
    assert!(
        diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error),
        "{diagnostics:?}"
    );
}
