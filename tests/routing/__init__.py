"""Tests of ``atbus.routing``."""
