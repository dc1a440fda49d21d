"""The way of a feed's decisions and events from streams to files, datasets and live proxies."""
