"""The program: inventory, life of a host, rehearsal and the command line."""
