"""What an operator sees of a running Tocsin: log lines, metrics, health.

Never sends anything anywhere by itself: lines go to a stream, metrics and health to whoever asks over HTTP.
"""
