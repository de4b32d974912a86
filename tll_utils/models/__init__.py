"""The architectures of the reports, one file per family, as functions that return named models."""
