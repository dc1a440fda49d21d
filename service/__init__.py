"""Online ranking: FastAPI, ONNX Runtime and Redis. Never imports torch nor ``training``."""
