"""A Redis server of the gateway's own: its process, its data folder, its end."""
