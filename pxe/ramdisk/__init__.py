"""The small Linux that inspects a machine or writes an image to its disk; see README.md."""
