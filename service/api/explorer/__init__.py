"""The explorer: a page that ranks live while its reader drags the tradeoff."""
