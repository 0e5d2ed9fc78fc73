"""What lies inside a finished disk image, read without mounting it and without root."""
