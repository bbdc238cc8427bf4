"""Evaluate the segmentation of recorded drives: how good and how fast, as a report for programs and a page for people."""
