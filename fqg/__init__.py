"""Function Quest: the puzzle game whose levels are workflows with functions for models."""
