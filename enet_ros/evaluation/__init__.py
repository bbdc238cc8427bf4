"""Evaluation: metrics, and measuring a segmenter against ground truth."""
