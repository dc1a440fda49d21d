"""What training writes and the service reads: manifest, artifact files, records, Redis keys."""
