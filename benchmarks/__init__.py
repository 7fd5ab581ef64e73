"""Measurements, which print and write figures; and two chaos tests, `kills` and `soak`, which pass or fail."""
