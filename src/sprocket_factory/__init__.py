"""A REST service that keeps a sprocket manufacturer's catalogue, factories and production."""

__version__ = "0.1.0"
