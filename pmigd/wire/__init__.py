"""The JSON that travels on the socket: its schemas, and the way between them and the core."""
