"""The kernel's side of the Pit: its configuration, and how the run path asks its members."""
