"""Whole buses on a virtual network: seeded traffic and faults, judged by an independent model."""
