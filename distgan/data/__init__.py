"""Sources to Parquet, Parquet to memory, memory to batches."""
