"""What results depend on, how they are written, and where they came from."""
