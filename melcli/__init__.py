"""Mel spectrograms for whole datasets."""

__version__ = "0.1.0"
