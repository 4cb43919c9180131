"""Tests, folder by folder as in ``atbus``."""
