"""Tocsin: a message store that notifies, in the wire format of RingCentral's messaging API."""

__version__ = "0.1.0"
