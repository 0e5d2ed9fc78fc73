"""The specs of the metapackages, built and published."""
