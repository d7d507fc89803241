"""A session without I/O: what is said, received, missed and waited for."""
