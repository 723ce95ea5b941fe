"""Datasets of the papers: `load_dataset(name)` gives preprocessed arrays, a digest and their provenance."""

from arml.datasets.errors import DatasetError
from arml.datasets.loading import Dataset, dataset_names, load_dataset

__all__ = ["Dataset", "DatasetError", "dataset_names", "load_dataset"]
