"""The rehearsal: the inventory as virtual machines with real firmware."""
