"""Reports as data, tables and plots."""
