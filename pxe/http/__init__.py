"""The HTTP plane: files, scripts, single-use answers, reports."""
