"""Reads the facial expression of people in photographs and explains it."""
