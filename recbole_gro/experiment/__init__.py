"""The paper's experiments: a plan of cells, run and resumed, then statistics and a report."""
