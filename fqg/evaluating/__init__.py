"""Scoring: one way for all players, paired per level and fortune."""
