"""Speed and memory against the published algorithms: `python -m benchmarks.run`. Not a part of the library."""
