"""State and events of hosts, kept in a database."""
