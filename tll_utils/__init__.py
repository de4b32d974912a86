"""Human image similarity on Totally Looks Like: data, models, losses and honest scoring."""

__version__ = "0.1.0"
