"""Live changes: items, proxies and users that requests change while the service ranks."""
