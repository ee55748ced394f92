"""Renders people whose facial action units are known exactly: seed and action units to picture and truth."""
