"""Online ranking: FastAPI, ONNX Runtime and Redis. Never imports torch nor ``training``."""

import os

# onnxruntime writes a device id to the home folder and reports to its vendor, unless this is set
# before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
