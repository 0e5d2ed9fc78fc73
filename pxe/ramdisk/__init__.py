"""The ramdisk that inspects a machine and writes an image to its disk."""
