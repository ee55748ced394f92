"""Labelled faces into chains of thought: a teacher writes, a blind reader guesses, and both are checked."""
