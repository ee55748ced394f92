"""Labelled faces and what a model says of them into figures that say how far it can be believed."""
