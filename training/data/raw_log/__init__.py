"""A raw log, in a team's own tables, as a dataset folder; on polars or on Spark, without torch."""
