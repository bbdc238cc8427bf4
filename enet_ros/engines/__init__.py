"""Engines: one class for each runtime, all with the interface of `base.Engine`."""
