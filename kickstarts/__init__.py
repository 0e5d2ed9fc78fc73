"""Answers for Anaconda: rendered, validated kickstarts."""
