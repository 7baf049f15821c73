"""Transports: they carry finished notifications to receivers and say how it went. They never read messages."""
