"""Reports: as data, as tables, as plots."""
