"""The commands of `symphony-fqg`, one file each."""
