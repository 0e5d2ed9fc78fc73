"""The inventory file: its model, its loading and its views for the libraries."""
