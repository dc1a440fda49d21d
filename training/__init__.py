"""Offline training: PyTorch. Knows the service by ``service.contract`` alone."""
