"""The version of the package. setup.py and package.xml repeat it; a test compares them."""

__version__ = '0.1.0'
