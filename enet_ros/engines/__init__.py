"""Engines: one class per runtime behind one small protocol."""
