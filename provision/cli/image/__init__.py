"""`build-image`, or `rackseed image`: images built, verified, compared and published."""
