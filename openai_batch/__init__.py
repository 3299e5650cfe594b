"""Batch inference: from a file of prompts to one checked file of answers."""
