"""Offline training: PyTorch. Knows the service by ``service.contract`` alone."""

import os

# As in `service`: onnxruntime reads it at its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
