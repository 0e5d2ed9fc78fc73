"""TFTP for the first boot program: codec, transfer, server."""
