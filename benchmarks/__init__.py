"""Measurements. They print and write figures; they never pass or fail."""
