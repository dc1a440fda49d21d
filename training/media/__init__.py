"""Encoders that turn pictures, texts and sounds into item embeddings."""
