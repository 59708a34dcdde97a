"""Files of classes: CSV, NDJSON and Parquet. What is written is read again as it was."""
