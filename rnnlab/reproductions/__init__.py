"""Published results, one a file, each with what decides whether it is reproduced."""
