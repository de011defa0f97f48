"""Places outside the database for large values and files."""
