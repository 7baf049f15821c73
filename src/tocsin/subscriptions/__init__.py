"""Subscriptions: create with its handshake, list, update, renew, cancel, expire, blacklist. Never delivers anything."""
