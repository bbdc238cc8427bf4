"""Datasets: converters from published layouts to one prepared layout, and its reader."""
