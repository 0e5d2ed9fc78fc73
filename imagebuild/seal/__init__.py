"""What a finished image must not carry, how it is removed and how its absence is verified."""
