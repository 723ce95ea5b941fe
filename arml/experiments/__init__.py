"""Experiments: typed configuration, the pipeline from data to records, the store of records, their provenance.

Only this package and `scripts` know Hydra and OmegaConf, and only this package writes results.
"""
