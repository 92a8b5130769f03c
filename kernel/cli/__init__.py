"""The commands `symphony-kernel` and `symphony-ext`."""
