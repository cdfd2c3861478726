"""Beyond one machine: nodes, failures and roll-outs, computed and simulated for docs/scale.md."""
