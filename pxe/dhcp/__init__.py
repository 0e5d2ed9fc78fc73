"""DHCP for network boot: codec, decision, server."""
