"""The HTTP API. Apart from the application, only this package knows FastAPI."""
