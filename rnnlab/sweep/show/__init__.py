"""What a sweep says of itself."""
