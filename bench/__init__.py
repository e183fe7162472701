"""Reproducible measurements. `./run bench` runs them; figures are ratios taken in one run."""
