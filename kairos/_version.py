"""The version, in a module of its own so that the build can read it without importing kairos."""

__version__ = "0.6.0"
