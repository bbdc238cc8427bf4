"""Evaluation: metrics, and a segmenter held against ground truth."""
