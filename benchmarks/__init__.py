"""What glmheads costs: `python -m benchmarks` measures speed, `python benchmarks/accuracy.py` accuracy."""
