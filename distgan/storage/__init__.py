"""Files on local and remote storage: reading, writing, ownership, and cleaning up."""
