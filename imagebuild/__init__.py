"""Recipes to sealed, published images."""
