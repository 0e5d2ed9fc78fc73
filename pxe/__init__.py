"""From power-on to kernel: DHCP, TFTP and HTTP for network boot."""
