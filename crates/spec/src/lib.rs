//! valohai.yaml: parse, validate with line and column, interpolate, expand to a graph.
