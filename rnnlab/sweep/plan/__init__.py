"""What a sweep is to run: decided before anything starts."""
