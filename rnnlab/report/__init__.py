"""Turns the runs of a sweep into tables, figures and sentences, from MLflow alone."""
